// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// The authorities and their revocation lists, to see how far the lists reach.
///
/// Which certificates are revoked the library says; that there is no list to say so it does not.
struct Revocation {
  let anchors: [Certificate]
  let lists: [RevocationList]

  /// The first certificate of a verified chain, up to those that an anchor issued, of which no list
  /// speaks: none that an issuer of it signed. Nil where lists speak of all.
  ///
  /// Of several issuers of one name that a server sends, all count: which one the library took is
  /// not known here.
  func firstUnlisted(in chain: [Certificate]) -> Certificate? {
    var rest = chain
    var next = rest.isEmpty ? [] : [rest.removeFirst()]
    while let own = next.popLast() {
      if anchors.contains(where: own.isSame) { continue }
      let trusted = anchors.filter(own.isIssued)
      let issuers = trusted.isEmpty ? chain.filter(own.isIssued) : trusted
      guard lists.contains(where: { $0.isSigned(by: issuers) }) else { return own }
      if trusted.isEmpty {
        next += rest.filter(own.isIssued)
        rest.removeAll(where: own.isIssued)
      }
    }
    return nil
  }
}

extension Certificate {
  fileprivate func isSame(as other: Certificate) -> Bool {
    unsafe gnutls_x509_crt_equals(handle, other.handle) != 0
  }

  fileprivate func isIssued(by other: Certificate) -> Bool {
    unsafe gnutls_x509_crt_check_issuer(handle, other.handle) != 0
  }
}
