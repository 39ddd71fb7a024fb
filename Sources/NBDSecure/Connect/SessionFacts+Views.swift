// SPDX-License-Identifier: Apache-2.0
import TLS

// What a session proved, as the rest of the library asks for it.
extension SessionFacts {
  /// The server's certificate; nil for a pre-shared key.
  var peer: CertificateFacts? {
    if case .x509(let server, _) = authentication { server } else { nil }
  }

  /// The identity that the pre-shared key has; nil for x509.
  var pskIdentity: String? {
    if case .psk(let identity) = authentication { identity } else { nil }
  }

  /// The server's public key, "sha256:" and hex; nil for a pre-shared key.
  var pin: String? { peer.map { "\($0.publicKey)" } }

  /// The name that was verified; nil for a pre-shared key.
  var verifiedName: String? { peer == nil ? nil : identity.text }

  /// The key exchange. TLS 1.3 has none that depends on the kind of certificate; GnuTLS names one
  /// all the same.
  var exchange: String {
    guard version == .v13, pskIdentity == nil else { return keyExchange }
    return keyExchange.hasPrefix("ECDHE")
      ? "ECDHE" : keyExchange.hasPrefix("DHE") ? "DHE" : keyExchange
  }

  /// One line for traces.
  var summary: String {
    let proof = pskIdentity.map { "pre-shared key \($0)" } ?? "\(verifiedName ?? "?") verified"
    return "TLS \(version.rawValue), \(cipher.rawValue), \(exchange), \(proof)"
  }
}

extension CertificateFacts {
  /// Every name that the certificate carries.
  var names: [String] { dnsNames + ipAddresses }
}
