// SPDX-License-Identifier: Apache-2.0

/// A directory of certificates looked at file by file: what each says, and everything that is
/// wrong, where `X509Credentials.load` stops at the first.
package struct CredentialSurvey: Sendable {
  /// What the files say that could be read.
  package private(set) var files: [CredentialFileFacts] = []
  /// What is wrong, the error of `X509Credentials.load` first; empty when it would succeed.
  package private(set) var failures: [CredentialError] = []

  /// Looks at a directory; the parameters are those of `X509Credentials.load`.
  package init(directory: String, keyPasswordFile: String? = nil, trustAnchors: String? = nil) {
    TLSLibrary.prepare()
    guard let place = attempt({ () throws(CredentialError) in try CredentialDirectory(directory) })
    else { return }
    let anchors = attempt { () throws(CredentialError) in
      try TrustAnchors(file: trustAnchors ?? place.file(CredentialDirectory.caName))
    }
    if let anchors { files.append(anchors.facts) }
    let revocation = revocationLists(place, anchors)
    guard let own = clientCertificate(place, keyPasswordFile), let anchors else { return }
    attempt { () throws(CredentialError) in
      try own.verify(anchors: anchors, revocation: revocation)
    }
  }

  private mutating func revocationLists(
    _ place: CredentialDirectory, _ anchors: TrustAnchors?
  ) -> RevocationLists? {
    let lists = attempt { () throws(CredentialError) -> RevocationLists? in
      // Whose list it may be, the anchors say.
      guard let anchors, try place.has(CredentialDirectory.crlName) else { return nil }
      return try RevocationLists(file: place.file(CredentialDirectory.crlName), anchors: anchors)
    }
    guard case .some(.some(let lists)) = lists else { return nil }
    files.append(lists.facts)
    return lists
  }

  private mutating func clientCertificate(
    _ place: CredentialDirectory, _ passwordFile: String?
  ) -> ClientCertificate? {
    let certificate = place.file(CredentialDirectory.certificateName)
    let key = place.file(CredentialDirectory.keyName)
    let own = attempt { () throws(CredentialError) -> ClientCertificate? in
      guard try X509Credentials.hasClientCertificate(place) else { return nil }
      return try ClientCertificate(
        certificateFile: certificate, keyFile: key, passwordFile: passwordFile)
    }
    guard case .some(.some(let own)) = own else { return nil }
    files += own.facts
    return own
  }

  @discardableResult
  private mutating func attempt<T>(_ body: () throws(CredentialError) -> T) -> T? {
    do throws(CredentialError) { return try body() } catch {
      failures.append(error)
      return nil
    }
  }
}
