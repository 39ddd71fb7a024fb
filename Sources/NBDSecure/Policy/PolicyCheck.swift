// SPDX-License-Identifier: Apache-2.0

extension PolicyBlock {
  static let secondsPerDay: Int64 = 86_400

  /// What this block has against the question itself, before anything is connected.
  func check(_ question: PolicyQuestion) throws(PolicyRefusal) {
    try checkChannel(question)
    switch question.channel {
    case .plaintext: return
    case .psk(let file):
      guard let files = requirements.pskFiles, !files.contains(where: { $0.resolved == file })
      else { return }
      throw refusal(
        .pskFiles, "\(file) is not among the key files that must be used",
        hint: "use " + files.map(\.text).joined(separator: " or "))
    case .x509(let x509):
      try checkCredentials(x509, now: question.now)
    }
  }

  private func checkChannel(_ question: PolicyQuestion) throws(PolicyRefusal) {
    guard let kind = question.authentication else {
      return try checkPlaintext(question.transport)
    }
    guard !requirements.effectiveAuthentication.contains(kind) else { return }
    let key = requirements.authentication == nil ? firstDemand(of: kind) : .authentication
    let only = kind == .psk ? "x509 certificates" : "pre-shared keys"
    throw refusal(
      key, "only \(only) are allowed here, not \(kind.rawValue)",
      hint: requirements.authentication == nil
        ? "a policy that allows both kinds here says authentication = [\"x509\", \"psk\"]" : nil)
  }

  private func checkPlaintext(_ transport: PolicyQuestion.Transport) throws(PolicyRefusal) {
    let key = requirements.plaintext == nil ? firstDemand(of: nil) : .plaintext
    let hint = "give credentials, so that the connection is made with TLS"
    switch requirements.effectivePlaintext {
    case .allowed: return
    case .never: throw refusal(key, "plaintext is not allowed here", hint: hint)
    case .local: break
    }
    switch transport {
    case .tcp(_, _, _, let addresses):
      guard !addresses.isEmpty,
        addresses.allSatisfy({ PolicyAddress($0)?.isLoopback ?? false })
      else {
        throw refusal(
          key, "plaintext is allowed to loopback addresses and local sockets only", hint: hint)
      }
    case .unix(_, let resolved):
      guard let resolved, resolved.hasPrefix("/") else {
        throw refusal(key, "plaintext needs a socket with a path in the file system", hint: hint)
      }
      guard let sockets = requirements.plaintextSockets else { return }
      guard sockets.contains(where: { $0.matches(resolved) }) else {
        throw refusal(
          .plaintextSockets, "plaintext is not allowed on socket \(resolved)", hint: hint)
      }
    case .vsock:
      throw refusal(
        key, "plaintext is allowed to loopback addresses and local sockets only", hint: hint)
    }
  }

  private func checkCredentials(
    _ x509: PolicyQuestion.X509, now: Int64
  ) throws(PolicyRefusal) {
    if let anchors = requirements.trustAnchors {
      let used = x509.trustAnchors ?? PolicyPath.system.resolved
      guard anchors.contains(where: { $0.resolved == used }) else {
        let name = x509.trustAnchors ?? "the system's trust store"
        throw refusal(
          .trustAnchors, "\(name) is not among the trust anchors that must be used",
          hint: "use " + anchors.map(\.text).joined(separator: " or "))
      }
    }
    if requirements.clientCertificate == true, !x509.hasClientCertificate {
      throw refusal(
        .clientCertificate, "a client certificate is required",
        hint: "put client-cert.pem and client-key.pem into the credentials directory")
    }
    if let key = requirements.revocationKey {
      guard let issued = x509.revocationListIssued else {
        throw refusal(
          key, "a revocation list is required",
          hint: "put ca-crl.pem into the credentials directory")
      }
      if let days = requirements.crlMaxAgeDays, issued < now - days * Self.secondsPerDay {
        throw refusal(
          .crlMaxAgeDays, "the revocation list is older than \(days) days",
          hint: "fetch a fresh ca-crl.pem")
      }
    }
    if let end = x509.clientCertificateNotAfter, x509.hasClientCertificate {
      try checkRemaining(end, now: now, of: "the client certificate")
    }
  }

  /// What this block has against what the handshake proved.
  func check(
    _ session: PolicyProof.Session, now: Int64
  ) throws(PolicyRefusal) {
    if let oldest = requirements.minimumVersion, session.version < oldest {
      throw refusal(
        .tlsMinVersion,
        "the session is TLS \(session.version.rawValue), older than \(oldest.rawValue)")
    }
    if let ciphers = requirements.ciphers, !ciphers.contains(session.cipher) {
      throw refusal(.ciphers, "the session's cipher \(session.cipher) is not allowed")
    }
    if let groups = requirements.groups, !groups.contains(session.group ?? "") {
      let group = session.group.map { "group \($0) is not allowed" } ?? "group is not known"
      throw refusal(.groups, "the session's key exchange \(group)")
    }
    guard requirements.effectiveAuthentication.contains(session.authentication) else {
      throw refusal(
        .authentication, "the session's authentication is \(session.authentication.rawValue)")
    }
    guard session.authentication == .x509 else { return }
    if let pins = requirements.pins, !pins.contains(where: { $0 == session.peerKey }) {
      throw refusal(
        .pins, Self.keyText(session.peerKey) + " is not one of the pinned ones", isIdentity: true)
    }
    if requirements.sameKey == true, let previous = session.previousPeerKey,
      previous != session.peerKey
    {
      throw refusal(
        .sameKey, Self.keyText(session.peerKey) + " is not the one of the first connection",
        isIdentity: true)
    }
    if let key = requirements.revocationKey, let certificate = session.unlistedCertificate {
      throw refusal(
        key, "no revocation list speaks of the certificate \(certificate)",
        hint: "add its issuer's list to ca-crl.pem")
    }
    if requirements.minRemainingDays != nil {
      guard let end = session.peerNotAfter else {
        throw refusal(.minRemainingDays, "the end of the server's certificate is not known")
      }
      try checkRemaining(end, now: now, of: "the server's certificate")
    }
  }

  private func checkRemaining(
    _ end: Int64, now: Int64, of owner: String
  ) throws(PolicyRefusal) {
    guard let days = requirements.minRemainingDays, end < now + days * Self.secondsPerDay
    else { return }
    throw refusal(
      .minRemainingDays, "\(owner) is valid for less than \(days) more days",
      hint: "renew the certificate")
  }

  private static func keyText(_ key: PolicyPin?) -> String {
    key.map { "the server's public key \($0)" } ?? "the server's public key (none)"
  }

  /// The key by which the block, without saying so, demands TLS (or the other kind of it).
  private func firstDemand(of kind: PolicyAuthentication?) -> PolicyKey {
    let weak: Set<PolicyKey> =
      kind == nil
      ? [.plaintextSockets, .readOnly, .dataPaths]
      : [
        .plaintext, .plaintextSockets, .readOnly, .dataPaths, .tlsMinVersion, .ciphers, .groups,
      ]
    return requirements.keys.first { !weak.contains($0) } ?? .authentication
  }

  func refusal(
    _ key: PolicyKey, _ reason: String, hint: String? = nil, isIdentity: Bool = false
  ) -> PolicyRefusal {
    PolicyRefusal(at: source, key: key, reason, hint: hint, isIdentity: isIdentity)
  }
}
