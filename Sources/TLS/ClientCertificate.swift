// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// A certificate of ours, its chain and its key.
struct ClientCertificate {
  private let chain: [Certificate]
  private let key: PrivateKey
  private let path: String
  private let keyPath: String
  let facts: [CredentialFileFacts]

  init(
    certificateFile path: String, keyFile: String, passwordFile: String?
  ) throws(CredentialError) {
    let file = try CredentialFile(
      path, limit: CredentialFile.largest,
      .init(missing: .keyWithoutCertificate, what: "the client certificate"))
    switch Certificate.list(pem: file.bytes) {
    case .success(let list) where !list.isEmpty: chain = list
    case .success: throw CredentialError(.certificateNotPEM, path, "holds no certificate")
    case .failure(let error):
      throw CredentialError(
        .certificateNotPEM, path,
        PEM.fault(file.bytes) ?? "not certificates in PEM: \(error.text)",
        hint: "certificates in PEM begin with -----BEGIN CERTIFICATE-----")
    }
    key = try PrivateKey(file: keyFile, passwordFile: passwordFile)
    self.path = path
    keyPath = keyFile
    var certificate = CredentialFileFacts(
      role: .clientCertificate, path: path, mode: file.mode)
    certificate.certificates = chain.map(CertificateFacts.init)
    facts = [certificate, key.facts]
  }

  /// Checks everything that a careful server would: dates, purpose, chain, revocation, strength.
  func verify(anchors: TrustAnchors, revocation: RevocationLists?) throws(CredentialError) {
    guard let own = chain.first else {
      throw CredentialError(.certificateNotPEM, path, "holds no certificate")
    }
    guard let digest = own.publicKeyDigest, digest == key.publicKeyDigest else {
      throw CredentialError(
        .keyMismatch, keyPath, "not the key of the certificate in \(Text.path(path))",
        hint: "certificate and key must be made together")
    }
    try verifyUse(own)
    let status = try chainStatus(anchors, revocation)
    if status != 0 { throw explain(status, own, anchors) }
  }

  private func verifyUse(_ own: Certificate) throws(CredentialError) {
    let now = Clock.now
    for certificate in chain {
      if certificate.notAfter < now {
        throw CredentialError(
          .certificateExpired, path,
          "“\(certificate.subject)” expired on \(Text.date(certificate.notAfter))",
          hint: "ask your certificate authority for a new one")
      }
      if certificate.notBefore > now {
        throw CredentialError(
          .certificateNotYetValid, path,
          "“\(certificate.subject)” is not valid before \(Text.date(certificate.notBefore))",
          hint: "is the clock of this machine right? it is \(Text.date(now))")
      }
    }
    let maySign = own.keyUsage.map { $0 & UInt32(GNUTLS_KEY_DIGITAL_SIGNATURE) != 0 } ?? true
    guard unsafe own.allows(purpose: cgt_purpose_client), maySign else {
      throw CredentialError(
        .certificateWrongPurpose, path, "“\(own.subject)” is not for TLS clients",
        hint: "its extended key usage must include TLS web client authentication, and its key "
          + "usage digital signature")
    }
  }

  private func chainStatus(
    _ anchors: TrustAnchors, _ revocation: RevocationLists?
  ) throws(CredentialError) -> UInt32 {
    var created: gnutls_x509_trust_list_t?
    guard unsafe gnutls_x509_trust_list_init(&created, 0) >= 0, let trust = unsafe created else {
      throw CredentialError(.library, path, "out of memory")
    }
    // The certificates stay ours: only the list itself goes.
    defer { unsafe gnutls_x509_trust_list_deinit(trust, 0) }
    var authorities = unsafe anchors.usable.map { unsafe Optional($0.handle) }
    var status: UInt32 = 0
    var code = unsafe gnutls_x509_trust_list_add_cas(
      trust, &authorities, UInt32(authorities.count), 0)
    if let revocation, code >= 0 {
      var lists = unsafe revocation.lists.map { unsafe Optional($0.handle) }
      code = unsafe gnutls_x509_trust_list_add_crls(trust, &lists, UInt32(lists.count), 0, 0)
    }
    if code >= 0 {
      var certificates = unsafe chain.map { unsafe Optional($0.handle) }
      code = unsafe gnutls_x509_trust_list_verify_crt(
        trust, &certificates, UInt32(certificates.count), UInt32(cgt_profile_medium_flags), &status,
        nil)
    }
    guard code >= 0 else {
      throw CredentialError(
        .certificateRejected, path, "cannot be verified: \(TLSLibrary.text(for: code))")
    }
    return status
  }

  private func explain(
    _ status: UInt32, _ own: Certificate, _ anchors: TrustAnchors
  ) -> CredentialError {
    func has(_ flag: gnutls_certificate_status_t) -> Bool { status & flag.rawValue != 0 }
    if has(GNUTLS_CERT_REVOKED) {
      return CredentialError(
        .certificateRevoked, path, "“\(own.subject)” has been revoked",
        hint: "ask your certificate authority for a new one")
    }
    if has(GNUTLS_CERT_SIGNER_NOT_FOUND) || has(GNUTLS_CERT_SIGNER_NOT_CA) {
      return CredentialError(
        .certificateNotFromCA, path,
        "“\(own.subject)” was issued by “\(own.issuer)”, which \(Text.path(anchors.facts.path)) "
          + "does not vouch for",
        hint: "append the intermediate certificates to client-cert.pem, or add the authority to "
          + "ca-cert.pem")
    }
    if has(GNUTLS_CERT_INSECURE_ALGORITHM) {
      return CredentialError(
        .certificateTooWeak, path,
        "“\(own.subject)” is too weak: \(own.keyType) signed with \(own.signatureAlgorithm)",
        hint: "RSA keys need 2048 bits or more, signatures SHA-256 or better")
    }
    return CredentialError(
      .certificateRejected, path, "“\(own.subject)” is not valid (status \(status))")
  }

  /// Adds certificate and key to credentials, which copy both.
  func install(in handle: gnutls_certificate_credentials_t) throws(CredentialError) {
    var certificates = unsafe chain.map { unsafe Optional($0.handle) }
    let code = unsafe gnutls_certificate_set_x509_key(
      handle, &certificates, Int32(certificates.count), key.handle)
    guard code != GNUTLS_E_CERTIFICATE_KEY_MISMATCH else {
      throw CredentialError(
        .keyMismatch, keyPath, "not the key of the certificate in \(Text.path(path))")
    }
    guard code >= 0 else {
      throw CredentialError(
        .certificateRejected, path, "cannot be used: \(TLSLibrary.text(for: code))")
    }
  }
}
