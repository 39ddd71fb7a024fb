// SPDX-License-Identifier: Apache-2.0

/// What a handshake proved.
package struct SessionFacts: Hashable, Sendable {
  /// How the server proved who it is.
  package enum Authentication: Hashable, Sendable {
    /// By a certificate, chain length counted as the server sent it.
    case x509(server: CertificateFacts, chainLength: Int)
    /// By a pre-shared key, under this identity.
    case psk(identity: String)
  }

  package let version: TLSVersion
  package let cipher: TLSCipher
  /// As "AEAD".
  package let mac: String
  /// As "ECDHE-RSA" or "ECDHE-PSK".
  package let keyExchange: String
  /// As "SECP256R1"; empty when the library names none.
  package let group: String
  package let authentication: Authentication
  /// The name that was verified.
  package let identity: ServerIdentity
  /// The first certificate of the server's chain, below the trust anchor, of which no revocation list
  /// speaks; nil where lists speak of all, or there is no certificate.
  package let unlistedCertificate: String?
  /// Whether the server asked for a client certificate.
  package let clientCertificateRequested: Bool
  /// The one that we sent.
  package let clientCertificate: CertificateFacts?

  /// Whether we sent one.
  package var clientCertificateSent: Bool { clientCertificate != nil }
}
