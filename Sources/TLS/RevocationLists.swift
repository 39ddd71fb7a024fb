// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// A certificate revocation list as the library holds it.
@safe final class RevocationList {
  let handle: gnutls_x509_crl_t

  /// Takes ownership.
  init(owning handle: gnutls_x509_crl_t) { unsafe self.handle = handle }

  deinit { unsafe gnutls_x509_crl_deinit(handle) }

  /// All lists of a PEM file.
  static func list(pem: [UInt8]) -> Result<[RevocationList], LibraryError> {
    var list: UnsafeMutablePointer<gnutls_x509_crl_t?>?
    var count: UInt32 = 0
    let code = unsafe Datum.with(pem) { datum in
      unsafe gnutls_x509_crl_list_import2(&list, &count, datum, GNUTLS_X509_FMT_PEM, 0)
    }
    guard code >= 0, let list = unsafe list else { return .failure(LibraryError(code: code)) }
    defer { unsafe cgt_free(list) }
    var lists: [RevocationList] = []
    for index in 0..<Int(count) {
      if let one = unsafe list[index] { lists.append(unsafe RevocationList(owning: one)) }
    }
    return .success(lists)
  }

  /// Whether it bears the name of one of these authorities.
  func isNamed(of authorities: [Certificate]) -> Bool {
    authorities.contains { unsafe gnutls_x509_crl_check_issuer(handle, $0.handle) != 0 }
  }

  /// Whether one of these authorities issued and signed it, soundly. Its dates are another matter.
  func isSigned(by authorities: [Certificate]) -> Bool {
    var handles = unsafe authorities.map { unsafe Optional($0.handle) }
    var status: UInt32 = 0
    let code = unsafe gnutls_x509_crl_verify(
      handle, &handles, UInt32(handles.count), UInt32(cgt_profile_medium_flags), &status)
    let dated =
      GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED.rawValue
      | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE.rawValue
    if status & dated != 0 { status &= ~(dated | GNUTLS_CERT_INVALID.rawValue) }
    return code >= 0 && status == 0
  }

  var facts: RevocationListFacts {
    let issuer = unsafe Datum.string { unsafe gnutls_x509_crl_get_issuer_dn3(handle, $0, 0) }
    let next = unsafe Int64(gnutls_x509_crl_get_next_update(handle))
    return unsafe RevocationListFacts(
      issuer: issuer.map(Text.printable) ?? "",
      thisUpdate: Int64(gnutls_x509_crl_get_this_update(handle)),
      nextUpdate: next < 0 ? nil : next,
      entries: max(Int(gnutls_x509_crl_get_crt_count(handle)), 0))
  }
}

/// The revocation lists of a file, each in force; those that bear an anchor's name are signed by it.
/// Others are those of intermediate authorities, whose certificates come with a server's: who signed
/// them shows then, see `Revocation.firstUnlisted`. One list at least is an anchor's, for without it
/// an intermediate authority that was revoked could speak for itself.
///
/// The library would load the list of any authority, and go on using one that has expired.
struct RevocationLists {
  let lists: [RevocationList]
  private(set) var facts: CredentialFileFacts

  init(file path: String, anchors: TrustAnchors) throws(CredentialError) {
    let file = try CredentialFile(
      path, limit: CredentialFile.largest,
      .init(missing: .fileUnreadable, what: "the revocation list"))
    switch RevocationList.list(pem: file.bytes) {
    case .success(let parsed) where !parsed.isEmpty: lists = parsed
    case .success: throw CredentialError(.crlNotPEM, path, "holds no revocation list")
    case .failure(let error):
      throw CredentialError(
        .crlNotPEM, path, PEM.fault(file.bytes) ?? "not a revocation list in PEM: \(error.text)",
        hint: "revocation lists in PEM begin with -----BEGIN X509 CRL-----")
    }
    facts = CredentialFileFacts(role: .revocationLists, path: path, mode: file.mode)
    facts.revocationLists = lists.map(\.facts)
    let now = Clock.now
    guard lists.contains(where: { $0.isNamed(of: anchors.usable) }) else {
      throw CredentialError(
        .crlForeign, path,
        "issued by “\(lists.map(\.facts.issuer).joined(separator: "”, “"))”, which is no authority "
          + "in \(Text.path(anchors.facts.path))",
        hint: "put the revocation list of the trusted authority there")
    }
    for list in lists {
      try RevocationLists.check(list, path: path, anchors: anchors, now: now)
      if !list.isNamed(of: anchors.usable) {
        facts.notes.append(
          "the list of “\(list.facts.issuer)” is believed where a server's chain shows that it "
            + "is an intermediate authority's")
      }
      if list.facts.nextUpdate == nil {
        facts.notes.append("the list of “\(list.facts.issuer)” does not say until when it holds")
      }
    }
  }

  private static func check(
    _ list: RevocationList, path: String, anchors: TrustAnchors, now: Int64
  ) throws(CredentialError) {
    let facts = list.facts
    guard !list.isNamed(of: anchors.usable) || list.isSigned(by: anchors.usable) else {
      throw CredentialError(
        .crlBadSignature, path,
        "its signature is not one of “\(facts.issuer)”, or too weak")
    }
    guard facts.thisUpdate <= now else {
      throw CredentialError(
        .crlNotYetValid, path, "not valid before \(Text.date(facts.thisUpdate))",
        hint: "is the clock of this machine right? it is \(Text.date(now))")
    }
    if let next = facts.nextUpdate, next < now {
      throw CredentialError(
        .crlExpired, path, "expired on \(Text.date(next))",
        hint: "fetch the authority's present revocation list")
    }
  }
}
