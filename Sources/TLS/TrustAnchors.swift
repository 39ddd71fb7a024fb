// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// The certificates of the authorities that are trusted.
///
/// The library would take a file without any, and a server's own certificate as an authority.
struct TrustAnchors {
  /// Those that are valid now, at least one.
  let usable: [Certificate]
  private(set) var facts: CredentialFileFacts

  init(file path: String) throws(CredentialError) {
    let file = try CredentialFile(
      path, limit: CredentialFile.largest,
      .init(
        missing: .caMissing, what: "the certificate of the authority",
        hint: "without it no server can be verified; the system's trust store is used only where "
          + "no credentials are named"))
    let all: [Certificate]
    switch Certificate.list(pem: file.bytes) {
    case .success(let list): all = list
    case .failure(let error):
      if error.code == GNUTLS_E_NO_CERTIFICATE_FOUND
        || error.code == GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR,
        !PEM.hasBlock(file.bytes, "CERTIFICATE")
      {
        throw CredentialError(
          .caEmpty, path, PEM.fault(file.bytes) ?? "holds no certificate",
          hint: "certificates in PEM begin with -----BEGIN CERTIFICATE-----")
      }
      throw CredentialError(.caNotPEM, path, "not certificates in PEM: \(error.text)")
    }
    guard !all.isEmpty else { throw CredentialError(.caEmpty, path, "holds no certificate") }
    for certificate in all {
      let mayIssue = certificate.keyUsage.map { $0 & UInt32(GNUTLS_KEY_KEY_CERT_SIGN) != 0 } ?? true
      guard certificate.isAuthority, mayIssue else {
        throw CredentialError(
          .caNotAuthority, path,
          "“\(certificate.subject)” is not the certificate of an authority",
          hint: "the basic constraints must say CA, and the key usage certificate signing")
      }
    }
    facts = CredentialFileFacts(role: .trustAnchors, path: path, mode: file.mode)
    facts.certificates = all.map(CertificateFacts.init)
    let now = Clock.now
    usable = all.filter { $0.notBefore <= now && now <= $0.notAfter }
    for certificate in all where certificate.notAfter < now {
      facts.notes.append("“\(certificate.subject)” expired on \(Text.date(certificate.notAfter))")
    }
    if usable.isEmpty { throw TrustAnchors.outOfDate(path, all, now) }
  }

  private static func outOfDate(
    _ path: String, _ all: [Certificate], _ now: Int64
  ) -> CredentialError {
    if let early = all.first(where: { $0.notBefore > now }) {
      return CredentialError(
        .caNotYetValid, path,
        "“\(early.subject)” is not valid before \(Text.date(early.notBefore))",
        hint: "is the clock of this machine right? it is \(Text.date(now))")
    }
    let latest = all.max { $0.notAfter < $1.notAfter }
    return CredentialError(
      .caExpired, path,
      latest.map { "“\($0.subject)” expired on \(Text.date($0.notAfter))" } ?? "expired",
      hint: "ask whoever runs the authority for its new certificate")
  }
}

/// The outer form of PEM.
enum PEM {
  /// What is wrong with a file that should be PEM and is none at all; nil where it has a block.
  static func fault(_ bytes: [UInt8]) -> String? {
    let blank: Set<UInt8> = [0x20, 0x09, 0x0a, 0x0d]
    if bytes.allSatisfy(blank.contains) { return "is empty" }
    return hasBlock(bytes, "") ? nil : "is not PEM"
  }

  /// Whether a line begins a block of this label, or of one that ends with it.
  static func hasBlock(_ bytes: [UInt8], _ label: String) -> Bool {
    bytes.split(separator: UInt8(ascii: "\n")).contains { line in
      line.starts(with: Array("-----BEGIN ".utf8))
        && String(decoding: line.prefix(80), as: UTF8.self).contains("\(label)-----")
    }
  }

  /// Whether it holds a private key that needs a password (PKCS #8, or the form of OpenSSL).
  static func isEncryptedKey(_ bytes: [UInt8]) -> Bool {
    if hasBlock(bytes, "ENCRYPTED PRIVATE KEY") { return true }
    return bytes.split(separator: UInt8(ascii: "\n")).contains { line in
      line.starts(with: Array("Proc-Type:".utf8)) && line.contains(UInt8(ascii: "E"))
        && String(decoding: line.prefix(80), as: UTF8.self).contains("ENCRYPTED")
    }
  }
}
