// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// The judgement over the certificates that a server presents.
struct PeerVerification {
  let identity: ServerIdentity
  let pins: Set<PublicKeyPin>
  /// Where the trust anchors come from, for messages.
  let trustSource: String
  /// The revocation lists, where there are any.
  let revocation: Revocation?

  /// What was verified.
  struct Proof {
    let certificate: CertificateFacts
    let chainLength: Int
    /// The first certificate of the chain of which no revocation list speaks.
    let unlisted: String?
  }

  /// Checks chain, validity, purpose, strength, revocation, name and pins; called in the handshake,
  /// before anything of ours is sent.
  func verify(_ session: gnutls_session_t) throws(TLSError) -> Proof {
    let chain = unsafe PeerVerification.chain(of: session)
    guard let leaf = chain.first else {
      throw TLSError(.notAuthenticated, "the server sent no certificate that can be read")
    }
    try unsafe verifyChain(session, chain, leaf)
    try verifyName(leaf)
    try verifyPins(leaf)
    let unlisted = revocation.map { $0.firstUnlisted(in: chain) } ?? leaf
    return Proof(
      certificate: CertificateFacts(leaf), chainLength: chain.count, unlisted: unlisted?.subject)
  }

  /// The longest chain looked at; the library refuses longer ones too.
  private static let longestChain = 16

  private static func chain(of session: gnutls_session_t) -> [Certificate] {
    var count: UInt32 = 0
    guard let list = unsafe gnutls_certificate_get_peers(session, &count) else { return [] }
    var chain: [Certificate] = []
    for index in 0..<min(Int(count), longestChain) {
      let datum = unsafe list[index]
      let der = unsafe Array(UnsafeBufferPointer(start: datum.data, count: Int(datum.size)))
      guard let certificate = Certificate(der: der) else { return [] }
      chain.append(certificate)
    }
    return chain
  }

  private func verifyChain(
    _ session: gnutls_session_t, _ chain: [Certificate], _ leaf: Certificate
  ) throws(TLSError) {
    var status: UInt32 = 0
    var purpose = unsafe gnutls_typed_vdata_st(
      type: GNUTLS_DT_KEY_PURPOSE_OID, data: nil, size: 0)
    unsafe purpose.data = UnsafeMutableRawPointer(mutating: cgt_purpose_server)
      .assumingMemoryBound(to: UInt8.self)
    let code = unsafe gnutls_certificate_verify_peers(session, &purpose, 1, &status)
    guard code >= 0 else {
      throw TLSError(
        .certificateRejected,
        "the server's certificate cannot be verified: \(TLSLibrary.text(for: code))")
    }
    if status != 0 { throw failure(status, chain, leaf) }
  }

  /// The most telling of the reasons in a status.
  private func failure(_ status: UInt32, _ chain: [Certificate], _ leaf: Certificate) -> TLSError {
    func has(_ flag: gnutls_certificate_status_t) -> Bool { status & flag.rawValue != 0 }
    func name(_ certificate: Certificate) -> String {
      let subject = certificate.subject.isEmpty ? "without a name" : certificate.subject
      return certificate === leaf
        ? "the server's certificate (\(subject))" : "the intermediate certificate (\(subject))"
    }
    let now = Clock.now
    if has(GNUTLS_CERT_REVOKED) {
      return TLSError(
        .revoked, "\(name(leaf)) or an issuer of it has been revoked",
        hint: "serial number \(Hexadecimal.encode(leaf.serialNumber)); the server needs a new one")
    }
    if has(GNUTLS_CERT_SIGNER_NOT_CA) {
      return TLSError(
        .issuerNotAuthority,
        "\(name(leaf)) was issued by “\(leaf.issuer)”, which is no certificate authority",
        hint: "the issuer's certificate lacks the CA constraint")
    }
    if has(GNUTLS_CERT_SIGNER_NOT_FOUND) {
      let selfSigned = chain.count == 1 && leaf.isSelfIssued
      return selfSigned
        ? TLSError(
          .selfSigned, "\(name(leaf)) is self-signed and not known to \(trustSource)",
          hint: "have a certificate authority issue it, and trust that authority")
        : TLSError(
          .unknownIssuer,
          "\(name(leaf)) was issued by “\(chain.last?.issuer ?? leaf.issuer)”, which "
            + "\(trustSource) does not know",
          hint: "trust the certificate of that authority, or let the server send its whole chain")
    }
    if has(GNUTLS_CERT_EXPIRED) {
      let expired = chain.first { $0.notAfter < now }
      return TLSError(
        .expired,
        expired.map { "\(name($0)) expired on \(Text.date($0.notAfter))" }
          ?? "a certificate of the authority has expired",
        hint: "the server needs a new certificate, unless the clock of this machine is wrong")
    }
    if has(GNUTLS_CERT_NOT_ACTIVATED) {
      let early = chain.first { $0.notBefore > now }
      return TLSError(
        .notYetValid,
        early.map { "\(name($0)) is not valid before \(Text.date($0.notBefore))" }
          ?? "a certificate of the authority is not valid yet",
        hint: "is the clock of this machine right? it is \(Text.date(now))")
    }
    if has(GNUTLS_CERT_PURPOSE_MISMATCH) {
      return TLSError(
        .wrongPurpose, "\(name(leaf)) is not for TLS servers",
        hint: "its extended key usage must include TLS web server authentication")
    }
    if has(GNUTLS_CERT_INSECURE_ALGORITHM) {
      let details = chain.map { "\($0.keyType) signed with \($0.signatureAlgorithm)" }
      return TLSError(
        .insecureAlgorithm,
        "\(name(leaf)) or its chain is too weak: \(details.joined(separator: "; "))",
        hint: "RSA keys need 2048 bits or more, signatures SHA-256 or better")
    }
    return TLSError(.certificateRejected, "\(name(leaf)) is not valid: \(describe(status))")
  }

  /// The library's words for a status.
  private func describe(_ status: UInt32) -> String {
    let text = unsafe Datum.string { datum in
      unsafe gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, datum, 0)
    }
    return Text.printable((text ?? "status \(status)").filter { $0 != "\0" })
  }

  /// Subject alternative names only: the library would fall back to the common name.
  private func verifyName(_ leaf: Certificate) throws(TLSError) {
    let names = leaf.alternativeNames
    // One that is not looked at could be one that policy denies.
    guard names.areAll else {
      throw TLSError(
        .certificateRejected,
        "the server's certificate (\(leaf.subject)) has more than \(Certificate.mostNames) names")
    }
    let matches: Bool
    let wanted: String
    switch identity {
    case .none:
      throw TLSError(
        .invalidIdentity, "there is no name to verify the server's certificate against",
        hint: "give the name with --tls-hostname")
    case .dns(let name):
      wanted = name
      matches = !names.dns.isEmpty && leaf.matches(dns: name)
    case .ip(let address):
      wanted = address
      matches = names.ip.contains { $0.text == address }
    }
    guard !matches else { return }
    // An address among the DNS names is no proof of the address.
    let carried =
      names.dns.map { IPAddress($0) == nil ? $0 : "the DNS name \($0)" } + names.ip.map(\.text)
    throw TLSError(
      .nameMismatch,
      carried.isEmpty
        ? "the server's certificate (\(leaf.subject)) names no host, so not “\(wanted)” either"
        : "the server's certificate is not for “\(wanted)” but for \(Text.list(carried))",
      hint: carried.isEmpty
        ? "the name must be in the subject alternative name; a common name does not count"
        : "if one of these is the server you mean, name it with --tls-hostname")
  }

  private func verifyPins(_ leaf: Certificate) throws(TLSError) {
    guard !pins.isEmpty else { return }
    guard let digest = leaf.publicKeyDigest else {
      throw TLSError(.pinMismatch, "the server's public key is of a kind that cannot be pinned")
    }
    let pin = PublicKeyPin(digest: digest)
    guard pins.contains(pin) else {
      throw TLSError(
        .pinMismatch, "the server's public key is not a pinned one: it is \(pin)",
        hint: "if the server has a new key on purpose, pin that")
    }
  }
}
