// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// Trust anchors, perhaps revocation lists, perhaps a certificate of ours with its key: all checked
/// when the value was made, and never changed afterwards.
@safe package final class X509Credentials: Sendable {
  /// What the files say, one by one.
  package let files: [CredentialFileFacts]
  /// Where the trust anchors come from, for messages.
  let trustSource: String
  /// The authorities and lists, where there are lists.
  nonisolated(unsafe) let revocation: Revocation?
  nonisolated(unsafe) let handle: gnutls_certificate_credentials_t

  private init(
    owning handle: gnutls_certificate_credentials_t, files: [CredentialFileFacts],
    trustSource: String, revocation: Revocation? = nil
  ) {
    unsafe self.handle = handle
    self.files = files
    self.trustSource = trustSource
    unsafe self.revocation = revocation
  }

  deinit { unsafe gnutls_certificate_free_credentials(handle) }

  /// Whether there is a certificate to show to servers that ask for one.
  package var hasClientCertificate: Bool { files.contains { $0.role == .clientCertificate } }

  /// The revocation lists, empty when there are none.
  package var revocationLists: [RevocationListFacts] { files.flatMap(\.revocationLists) }

  /// What the system trusts, without a certificate of ours.
  package static func systemTrust() throws(CredentialError) -> X509Credentials {
    let name = "the system's trust store"
    let handle = unsafe try allocate(name)
    let count = unsafe gnutls_certificate_set_x509_system_trust(handle)
    let facts = CredentialFileFacts(role: .systemTrust, path: name, mode: nil)
    let credentials = unsafe X509Credentials(owning: handle, files: [facts], trustSource: name)
    guard count > 0 else {
      throw CredentialError(
        .systemTrustEmpty, name, "holds no certificate",
        hint: "install ca-certificates, or name a directory with --tls-creds")
    }
    return credentials
  }

  /// Loads and checks a directory of PEM files: `ca-cert.pem`, which must be there unless
  /// `trustAnchors` names another file, `client-cert.pem` and `client-key.pem`, both or neither, and
  /// `ca-crl.pem`.
  package static func load(
    directory: String, keyPasswordFile: String? = nil, trustAnchors: String? = nil
  ) throws(CredentialError) -> X509Credentials {
    TLSLibrary.prepare()
    let place = try CredentialDirectory(directory)
    let anchors = try TrustAnchors(
      file: trustAnchors ?? place.file(CredentialDirectory.caName))
    var files = [anchors.facts]
    var revocation: RevocationLists?
    if try place.has(CredentialDirectory.crlName) {
      let lists = try RevocationLists(
        file: place.file(CredentialDirectory.crlName), anchors: anchors)
      files.append(lists.facts)
      revocation = lists
    }
    var own: ClientCertificate?
    if try hasClientCertificate(place) {
      let loaded = try ClientCertificate(
        certificateFile: place.file(CredentialDirectory.certificateName),
        keyFile: place.file(CredentialDirectory.keyName), passwordFile: keyPasswordFile)
      try loaded.verify(anchors: anchors, revocation: revocation)
      files += loaded.facts
      own = loaded
    }
    return try assemble(anchors, revocation, own, files)
  }

  /// Whether a directory has a certificate of ours and its key; one without the other is an error.
  static func hasClientCertificate(_ place: CredentialDirectory) throws(CredentialError) -> Bool {
    switch (
      try place.has(CredentialDirectory.certificateName), try place.has(CredentialDirectory.keyName)
    ) {
    case (false, false): return false
    case (true, true): return true
    case (true, false):
      throw CredentialError(
        .certificateWithoutKey, place.file(CredentialDirectory.certificateName),
        "there is no client-key.pem beside it",
        hint: "a client certificate is of use with its key only")
    case (false, true):
      throw CredentialError(
        .keyWithoutCertificate, place.file(CredentialDirectory.keyName),
        "there is no client-cert.pem beside it",
        hint: "a client key is of use with its certificate only")
    }
  }

  private static func assemble(
    _ anchors: TrustAnchors, _ revocation: RevocationLists?, _ own: ClientCertificate?,
    _ files: [CredentialFileFacts]
  ) throws(CredentialError) -> X509Credentials {
    let path = anchors.facts.path
    let credentials = unsafe X509Credentials(
      owning: try allocate(path), files: files, trustSource: Text.path(path),
      revocation: revocation.map { Revocation(anchors: anchors.usable, lists: $0.lists) })
    // All three calls copy what they are given.
    var list = unsafe anchors.usable.map { unsafe Optional($0.handle) }
    guard
      unsafe gnutls_certificate_set_x509_trust(credentials.handle, &list, Int32(list.count)) > 0
    else { throw CredentialError(.library, path, "the TLS library does not take it") }
    if let revocation {
      var lists = unsafe revocation.lists.map { unsafe Optional($0.handle) }
      guard
        unsafe gnutls_certificate_set_x509_crl(credentials.handle, &lists, Int32(lists.count)) > 0
      else {
        throw CredentialError(
          .library, revocation.facts.path, "the TLS library does not take it")
      }
    }
    if let own { unsafe try own.install(in: credentials.handle) }
    return credentials
  }

  private static func allocate(
    _ path: String
  ) throws(CredentialError) -> gnutls_certificate_credentials_t {
    TLSLibrary.prepare()
    var created: gnutls_certificate_credentials_t?
    guard unsafe gnutls_certificate_allocate_credentials(&created) >= 0,
      let handle = unsafe created
    else { throw CredentialError(.library, path, "out of memory for credentials") }
    return unsafe handle
  }
}
