// SPDX-License-Identifier: Apache-2.0

/// What a session must satisfy, beyond what the program itself insists on.
package struct TLSRequirements: Hashable, Sendable {
  /// The oldest version offered.
  package var minimumVersion: TLSVersion
  /// The user's GnuTLS priority string: what it selects is intersected with what else is allowed.
  package var priority: String?
  /// The ciphers that policy allows; nil: all that the program knows.
  package var allowedCiphers: [TLSCipher]?
  /// The groups that policy allows; nil: all that the program knows.
  package var allowedGroups: [TLSGroup]?
  /// The server's public key must be one of these; empty: any key whose chain and name verify.
  package var pins: Set<PublicKeyPin>

  package init(
    minimumVersion: TLSVersion = .v12, priority: String? = nil,
    allowedCiphers: [TLSCipher]? = nil, allowedGroups: [TLSGroup]? = nil,
    pins: Set<PublicKeyPin> = []
  ) {
    self.minimumVersion = minimumVersion
    self.priority = priority
    self.allowedCiphers = allowedCiphers
    self.allowedGroups = allowedGroups
    self.pins = pins
  }

  /// Finds out before anybody is connected to whether anything is left that a session could offer.
  ///
  /// - Throws: `TLSError` as the handshake would: the priority string, or policy, leaves nothing.
  package func check(with credentials: Credentials) throws(TLSError) {
    let isPSK = if case .psk = credentials { true } else { false }
    _ = try PriorityString(psk: isPSK, requirements: self)
  }
}

/// SHA-256 of a SubjectPublicKeyInfo in DER, written `sha256:` and 64 hexadecimal digits.
package struct PublicKeyPin: Hashable, Sendable, CustomStringConvertible {
  /// The 32 bytes in lower-case hexadecimal.
  package let hexadecimal: String

  /// Nil unless the text is a pin; upper-case digits are accepted.
  package init?(_ text: String) {
    let prefix = "sha256:"
    guard text.lowercased().hasPrefix(prefix) else { return nil }
    let digits = text.utf8.dropFirst(prefix.utf8.count)
    guard digits.count == 64, let bytes = Hexadecimal.decode(digits) else { return nil }
    hexadecimal = Hexadecimal.encode(bytes)
  }

  package init(digest: [UInt8]) { hexadecimal = Hexadecimal.encode(digest) }

  package var description: String { "sha256:\(hexadecimal)" }
}
