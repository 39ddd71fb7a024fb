// SPDX-License-Identifier: Apache-2.0

/// A TLS version that policy can ask for. Older ones are never offered (RFC 8996).
public enum PolicyTLSVersion: String, Hashable, Comparable, Sendable, Codable, CaseIterable {
  /// TLS 1.2, RFC 5246.
  case tls12 = "1.2"
  /// TLS 1.3, RFC 8446.
  case tls13 = "1.3"

  public static func < (left: Self, right: Self) -> Bool { left == .tls12 && right == .tls13 }
}

/// How the server proves who it is.
public enum PolicyAuthentication: String, Hashable, Comparable, Sendable, Codable, CaseIterable {
  /// A certificate that chains to a trust anchor and carries the expected name.
  case x509
  /// A key that both sides hold beforehand.
  case psk

  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// The way data takes between the server and the device.
public enum PolicyDataPath: String, Hashable, Comparable, Sendable, Codable, CaseIterable {
  /// Through our process, which can replay requests.
  case relay
  /// A kernel TLS socket given to the driver.
  case ktls

  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Where a connection without TLS is bearable. Ordered from the strictest.
public enum PolicyPlaintext: String, Hashable, Comparable, Sendable, Codable, CaseIterable {
  /// Nowhere.
  case never
  /// On Unix sockets with a path, and between loopback addresses.
  case local
  /// Wherever `--allow-plaintext` asks for it.
  case allowed

  public static func < (left: Self, right: Self) -> Bool { left.rank < right.rank }

  private var rank: Int {
    switch self {
    case .never: 0
    case .local: 1
    case .allowed: 2
    }
  }
}

/// The SHA-256 of a server's SubjectPublicKeyInfo (RFC 7469, section 2.4), as 64 lower-case
/// hexadecimal digits. Written `sha256:HEX` in options and policy files.
public struct PolicyPin: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
  /// The digest: 64 digits of 0-9a-f.
  public let hex: String

  /// Takes `sha256:HEX` or the digest's 64 digits alone, in either case; nil for anything else.
  public init?(_ text: String) {
    let lower = text.lowercased()
    let digits = lower.hasPrefix("sha256:") ? lower.dropFirst(7) : lower[...]
    guard digits.utf8.count == 64, digits.utf8.allSatisfy(\.isLowerHexDigit) else { return nil }
    hex = String(digits)
  }

  public var description: String { "sha256:" + hex }

  public static func < (left: Self, right: Self) -> Bool { left.hex < right.hex }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let pin = PolicyPin(text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a pin: \(text)")
    }
    self = pin
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

extension UInt8 {
  fileprivate var isLowerHexDigit: Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self)
      || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(self)
  }
}

/// The names GnuTLS gives to what policy can choose from. Others are refused as bad values: a
/// misspelt cipher must not read as "none of the known ones is excluded".
enum PolicyNames {
  /// What the program itself allows (`gnutls_cipher_get_name`).
  static let ciphers = ["AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"]
  /// Key exchange groups (`gnutls_group_get_name`).
  static let groups = [
    "X25519", "SECP256R1", "SECP384R1", "SECP521R1", "X448",
    "FFDHE2048", "FFDHE3072", "FFDHE4096", "FFDHE6144", "FFDHE8192",
  ]
}

/// The keys of a policy file that require something of a connection, in the order they are shown.
enum PolicyKey: String, CaseIterable, Sendable {
  case plaintext
  case plaintextSockets = "plaintext-sockets"
  case tlsMinVersion = "tls-min-version"
  case ciphers
  case groups
  case authentication
  case clientCertificate = "client-certificate"
  case crl
  case crlMaxAgeDays = "crl-max-age-days"
  case minRemainingDays = "min-remaining-days"
  case pins
  case sameKey = "same-key"
  case trustAnchors = "trust-anchors"
  case pskFiles = "psk-files"
  case readOnly = "read-only"
  case dataPaths = "data-paths"
}
