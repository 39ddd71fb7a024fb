// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// The versions that are ever offered.
package enum TLSVersion: String, CaseIterable, Comparable, Sendable {
  /// RFC 5246
  case v12 = "1.2"
  /// RFC 8446
  case v13 = "1.3"

  package static func < (a: TLSVersion, b: TLSVersion) -> Bool { a.rawValue < b.rawValue }

  var code: gnutls_protocol_t {
    switch self {
    case .v12: GNUTLS_TLS1_2
    case .v13: GNUTLS_TLS1_3
    }
  }

  init?(code: gnutls_protocol_t) {
    guard let version = TLSVersion.allCases.first(where: { $0.code == code }) else { return nil }
    self = version
  }
}

/// The ciphers that are ever offered, under the names of GnuTLS.
package enum TLSCipher: String, CaseIterable, Sendable {
  case aes128GCM = "AES-128-GCM"
  case aes256GCM = "AES-256-GCM"
  case chacha20Poly1305 = "CHACHA20-POLY1305"

  /// Best first on this machine.
  package static var byPreference: [TLSCipher] {
    TLSLibrary.hasAESInstructions
      ? [.aes128GCM, .aes256GCM, .chacha20Poly1305]
      : [.chacha20Poly1305, .aes128GCM, .aes256GCM]
  }

  var code: gnutls_cipher_algorithm_t {
    switch self {
    case .aes128GCM: GNUTLS_CIPHER_AES_128_GCM
    case .aes256GCM: GNUTLS_CIPHER_AES_256_GCM
    case .chacha20Poly1305: GNUTLS_CIPHER_CHACHA20_POLY1305
    }
  }

  init?(code: gnutls_cipher_algorithm_t) {
    guard let cipher = TLSCipher.allCases.first(where: { $0.code == code }) else { return nil }
    self = cipher
  }

  /// A pre-shared key is bound to SHA-256 in TLS 1.3 (RFC 8446, 4.2.11), and so to these ciphers.
  var hashesWithSHA256: Bool { self != .aes256GCM }
}

/// The groups that are ever offered, under the names of GnuTLS.
package enum TLSGroup: String, CaseIterable, Sendable {
  case secp256r1 = "SECP256R1"
  case x25519 = "X25519"
  case secp384r1 = "SECP384R1"
  case secp521r1 = "SECP521R1"
  case x448 = "X448"
  case ffdhe2048 = "FFDHE2048"
  case ffdhe3072 = "FFDHE3072"
  case ffdhe4096 = "FFDHE4096"
  case ffdhe6144 = "FFDHE6144"
  case ffdhe8192 = "FFDHE8192"
}
