// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// What a session offers: the program's own choice, narrowed by policy and then by the user's string.
struct PriorityString: Hashable {
  /// For gnutls_priority_set_direct.
  let text: String

  /// Names every algorithm, so that no default of the library can add one.
  init(psk: Bool, requirements: TLSRequirements) throws(TLSError) {
    var offer = try PriorityString.program(psk: psk)
    offer.keepVersions(from: requirements.minimumVersion)
    if let allowed = requirements.allowedCiphers {
      let codes = Set(allowed.map { $0.code.rawValue })
      offer.ciphers.removeAll { !codes.contains($0) }
    }
    if let allowed = requirements.allowedGroups {
      let names = Set(allowed.map(\.rawValue))
      offer.groups.removeAll { !names.contains(AlgorithmLists.groupName($0)) }
    }
    offer.settle(psk: psk)
    if let missing = offer.missing(psk: psk) {
      throw TLSError(
        .emptyRequirements, "what policy and the program allow has no \(missing) in common")
    }
    if let priority = requirements.priority {
      offer = try PriorityString.narrow(offer, by: priority, psk: psk)
    }
    text = offer.text
  }

  /// What the program itself allows; the configuration of the system may allow less.
  private static func program(psk: Bool) throws(TLSError) -> AlgorithmLists {
    let ciphers = TLSCipher.byPreference.map { ":+\($0.rawValue)" }.joined()
    var string =
      "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-CIPHER-ALL\(ciphers):-MAC-ALL:+AEAD"
    if psk {
      // GnuTLS has AES-GCM for TLS 1.2 with DHE-PSK only; TLS 1.3 does not look at this order.
      let exchanges =
        TLSLibrary.hasAESInstructions ? ":+DHE-PSK:+ECDHE-PSK" : ":+ECDHE-PSK:+DHE-PSK"
      string += ":-KX-ALL\(exchanges)"
    }
    do {
      var lists = try AlgorithmLists(string)
      lists.signatures.removeAll { AlgorithmLists.signatureName($0).contains("SHA1") }
      return lists
    } catch {
      throw TLSError(.library, "the TLS library refuses its defaults: \(error.message)")
    }
  }

  private static func narrow(
    _ offer: AlgorithmLists, by priority: String, psk: Bool
  ) throws(TLSError) -> AlgorithmLists {
    let shown = Text.printable(priority)
    guard !priority.contains("%") else {
      throw TLSError(
        .invalidPriority, "the priority string “\(shown)” has a keyword that starts with %",
        hint: "such keywords can loosen verification; name only versions, ciphers, key exchanges, "
          + "groups and signatures")
    }
    let wanted: AlgorithmLists
    do {
      wanted = try AlgorithmLists(priority)
    } catch {
      throw TLSError(.invalidPriority, "the priority string “\(shown)” \(error.message)")
    }
    var result = wanted.intersection(offer)
    // The order of ciphers is the user's where the user spelled it out. That of a keyword such as
    // NORMAL would end a session with a pre-shared key in CHACHA20, slow where the CPU has AES.
    let spelledOut = priority.hasPrefix("NONE") || priority.contains("-CIPHER-ALL")
    if !spelledOut { result.ciphers = offer.ciphers.filter(wanted.ciphers.contains) }
    // TLS 1.3 has no key exchange of this kind, and the library lists none for it alone.
    if !wanted.versions.contains(GNUTLS_TLS1_2.rawValue) { result.exchanges = offer.exchanges }
    result.settle(psk: psk)
    if let missing = result.missing(psk: psk) {
      throw TLSError(
        .emptyPriority, "the priority string “\(shown)” leaves no \(missing) that is allowed",
        hint: psk && missing == "key exchange"
          ? "add :+ECDHE-PSK:+DHE-PSK for a pre-shared key" : nil)
    }
    return result
  }
}

/// The algorithms that a priority string selects, best first.
struct AlgorithmLists {
  struct Failure: Error { let message: String }

  var versions: [UInt32]
  var ciphers: [UInt32]
  var macs: [UInt32]
  var exchanges: [UInt32]
  var groups: [UInt32]
  var signatures: [UInt32]

  init(_ string: String) throws(Failure) {
    TLSLibrary.prepare()
    var created: gnutls_priority_t?
    let code = unsafe gnutls_priority_init(&created, string, nil)
    guard code >= 0, let cache = unsafe created else {
      throw Failure(
        message: code == GNUTLS_E_INVALID_REQUEST
          ? "is not one that GnuTLS understands" : "selects nothing usable")
    }
    defer { unsafe gnutls_priority_deinit(cache) }
    unsafe versions = AlgorithmLists.list { unsafe gnutls_priority_protocol_list(cache, $0) }
    unsafe ciphers = AlgorithmLists.list { unsafe gnutls_priority_cipher_list(cache, $0) }
    unsafe macs = AlgorithmLists.list { unsafe gnutls_priority_mac_list(cache, $0) }
    unsafe exchanges = AlgorithmLists.list { unsafe gnutls_priority_kx_list(cache, $0) }
    unsafe groups = AlgorithmLists.list { unsafe gnutls_priority_group_list(cache, $0) }
    unsafe signatures = AlgorithmLists.list { unsafe gnutls_priority_sign_list(cache, $0) }
  }

  private static func list(
    _ read: (UnsafeMutablePointer<UnsafePointer<UInt32>?>) -> Int32
  ) -> [UInt32] {
    var start: UnsafePointer<UInt32>?
    let count = unsafe read(&start)
    guard count > 0, let start = unsafe start else { return [] }
    return unsafe Array(UnsafeBufferPointer(start: start, count: Int(count)))
  }

  mutating func keepVersions(from minimum: TLSVersion) {
    versions.removeAll { code in
      guard let version = TLSVersion(code: gnutls_protocol_t(rawValue: code)) else { return true }
      return version < minimum
    }
  }

  /// What both select, in the order of this one.
  func intersection(_ other: AlgorithmLists) -> AlgorithmLists {
    var result = self
    result.versions.removeAll { !other.versions.contains($0) }
    result.ciphers.removeAll { !other.ciphers.contains($0) }
    result.macs.removeAll { !other.macs.contains($0) }
    result.exchanges.removeAll { !other.exchanges.contains($0) }
    result.groups.removeAll { !other.groups.contains($0) }
    result.signatures.removeAll { !other.signatures.contains($0) }
    return result
  }

  /// Takes out what cannot be negotiated, or only by going round the other lists.
  mutating func settle(psk: Bool) {
    // Without a finite-field group of ours a server of TLS 1.2 would bring a prime of its own.
    let names = groups.map(AlgorithmLists.groupName)
    let hasFiniteField = names.contains { $0.hasPrefix("FFDHE") }
    let hasCurve = names.contains { !$0.hasPrefix("FFDHE") }
    exchanges.removeAll { code in
      AlgorithmLists.exchangeName(code).hasPrefix("DHE") ? !hasFiniteField : !hasCurve
    }
    let usable = ciphers.contains { code in
      TLSCipher(code: gnutls_cipher_algorithm_t(rawValue: code))?.hashesWithSHA256 ?? false
    }
    if psk, !usable { versions.removeAll { $0 == GNUTLS_TLS1_3.rawValue } }
  }

  /// The kind of algorithm of which nothing is left, nil when the lists can be used.
  func missing(psk: Bool) -> String? {
    if versions.isEmpty { return "TLS version" }
    if ciphers.isEmpty { return "cipher" }
    if macs.isEmpty { return "AEAD integrity" }
    if groups.isEmpty { return "group" }
    if exchanges.isEmpty { return "key exchange" }
    if !psk && signatures.isEmpty { return "signature algorithm" }
    return nil
  }

  var text: String {
    var parts = ["NONE", "+CTYPE-X509", "+COMP-NULL"]
    parts += versions.map { "+VERS-" + AlgorithmLists.versionName($0) }
    parts += ciphers.map { "+" + AlgorithmLists.cipherName($0) }
    parts += macs.map { "+" + AlgorithmLists.macName($0) }
    parts += exchanges.map { "+" + AlgorithmLists.exchangeName($0) }
    parts += groups.map { "+GROUP-" + AlgorithmLists.groupName($0) }
    parts += signatures.map { "+SIGN-" + AlgorithmLists.signatureName($0) }
    // RSA of 2048 bits or the like at least, and no broken hash in any certificate.
    parts.append("%PROFILE_MEDIUM")
    return parts.joined(separator: ":")
  }

  private static func name(_ text: UnsafePointer<CChar>?) -> String {
    unsafe text.map { unsafe String(cString: $0) } ?? "unknown"
  }

  static func versionName(_ code: UInt32) -> String {
    unsafe name(gnutls_protocol_get_name(gnutls_protocol_t(rawValue: code)))
  }
  static func cipherName(_ code: UInt32) -> String {
    unsafe name(gnutls_cipher_get_name(gnutls_cipher_algorithm_t(rawValue: code)))
  }
  static func macName(_ code: UInt32) -> String {
    unsafe name(gnutls_mac_get_name(gnutls_mac_algorithm_t(rawValue: code)))
  }
  static func exchangeName(_ code: UInt32) -> String {
    unsafe name(gnutls_kx_get_name(gnutls_kx_algorithm_t(rawValue: code)))
  }
  static func groupName(_ code: UInt32) -> String {
    unsafe name(gnutls_group_get_name(gnutls_group_t(rawValue: code)))
  }
  static func signatureName(_ code: UInt32) -> String {
    unsafe name(gnutls_sign_get_name(gnutls_sign_algorithm_t(rawValue: code)))
  }
}
