// SPDX-License-Identifier: Apache-2.0

/// A file of the user's own that is missing or wrong in itself.
package struct CredentialError: Error, Hashable, Sendable {
  /// One for each way to be wrong.
  package enum Kind: String, CaseIterable, Hashable, Sendable {
    // Directories
    case directoryMissing, notADirectory, directoryUnreadable
    case directoryOfOthers, directoryOpenToOthers
    case ambiguousDirectory, emptyDirectory
    // Files in general
    case fileUnreadable, notRegular, tooLarge, ownedByOthers, writableByOthers
    // Trust anchors
    case caMissing, caNotPEM, caEmpty, caNotAuthority, caExpired, caNotYetValid
    case systemTrustEmpty
    // Client certificate and key
    case certificateWithoutKey, keyWithoutCertificate
    case certificateNotPEM, certificateExpired, certificateNotYetValid, certificateWrongPurpose
    case certificateNotFromCA, certificateRevoked, certificateTooWeak, certificateRejected
    case keyNotPEM, keyExposed, keyMismatch, keyEncrypted, keyPasswordWrong
    case passwordFileMissing, passwordFileExposed, passwordFileMalformed
    // Revocation lists
    case crlNotPEM, crlForeign, crlBadSignature, crlExpired, crlNotYetValid
    // Pre-shared keys
    case pskFileMissing, pskFileExposed, pskFileEmpty, pskMalformedLine, pskBadIdentity
    case pskDuplicate, pskBadKey, pskEmptyKey, pskIdentityUnknown, pskIdentityNotNamed
    /// The library failed: memory, a fault of ours.
    case library
  }

  package let kind: Kind
  /// The file or directory concerned.
  package let file: String
  /// One line that names the file and says why, without a full stop.
  package let message: String
  /// What to do about it, where something can be said.
  package let hint: String?

  init(_ kind: Kind, _ file: String, _ why: String, hint: String? = nil) {
    self.kind = kind
    self.file = file
    message = "\(Text.path(file)): \(why)"
    self.hint = hint
  }
}
