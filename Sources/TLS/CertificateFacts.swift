// SPDX-License-Identifier: Apache-2.0

/// What a certificate says, as values to show and to judge.
package struct CertificateFacts: Hashable, Sendable {
  /// The subject's distinguished name, printable and bounded.
  package let subject: String
  /// The issuer's distinguished name, printable and bounded.
  package let issuer: String
  /// In hexadecimal.
  package let serialNumber: String
  /// DNS names of the subject alternative name, printable.
  package let dnsNames: [String]
  /// IP addresses of the subject alternative name.
  package let ipAddresses: [String]
  /// Start of the validity, seconds since 1970.
  package let notBefore: Int64
  /// End of the validity, seconds since 1970.
  package let notAfter: Int64
  /// Kind and bits of the key, as "EC/ECDSA 256".
  package let keyType: String
  /// How it is signed, as "ECDSA-SHA256".
  package let signatureAlgorithm: String
  /// Whether it may issue certificates.
  package let isAuthority: Bool
  /// SHA-256 of its SubjectPublicKeyInfo, which is what pins name.
  package let publicKey: PublicKeyPin

  init(_ certificate: Certificate) {
    subject = certificate.subject
    issuer = certificate.issuer
    serialNumber = Hexadecimal.encode(certificate.serialNumber)
    let names = certificate.alternativeNames
    dnsNames = names.dns.map(Text.printable)
    ipAddresses = names.ip.map(\.text)
    notBefore = certificate.notBefore
    notAfter = certificate.notAfter
    keyType = certificate.keyType
    signatureAlgorithm = certificate.signatureAlgorithm
    isAuthority = certificate.isAuthority
    publicKey = PublicKeyPin(digest: certificate.publicKeyDigest ?? [])
  }

  /// Whole days until the validity ends, negative when it has; `now` is seconds since 1970.
  package func remainingDays(at now: Int64 = Clock.now) -> Int {
    Int((Double(notAfter - now) / 86400).rounded(.down))
  }
}
