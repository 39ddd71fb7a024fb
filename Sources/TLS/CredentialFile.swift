// SPDX-License-Identifier: Apache-2.0
internal import Glibc
internal import LinuxIO
internal import SystemPackage

/// A file of credentials, read whole and once, its mode checked.
final class CredentialFile {
  let path: String
  let mode: UInt32
  private(set) var bytes: [UInt8]
  /// Whether the bytes are wiped at the end.
  private let isSecret: Bool

  /// How a file that is not there, or open to others, is called.
  struct Failures {
    var missing: CredentialError.Kind
    /// For secrets: readable by group or others.
    var exposed: CredentialError.Kind?
    var what: String
    var hint: String?
  }

  /// Certificates and revocation lists: at most 16 MiB. Keys and passwords: at most 64 KiB.
  static let largest = 16 << 20
  static let largestSecret = 64 << 10

  init(_ path: String, limit: Int, _ failures: Failures) throws(CredentialError) {
    var contents: FileContents
    do {
      contents = try readFile(path, limit: limit)
    } catch {
      throw CredentialFile.explain(error, path, limit, failures)
    }
    let facts = contents.facts
    guard facts.isRegular else {
      throw CredentialError(.notRegular, path, "not a regular file")
    }
    self.path = path
    mode = facts.mode
    isSecret = failures.exposed != nil
    bytes = []
    // Moved, not copied: what is wiped later has to be the only copy.
    swap(&bytes, &contents.bytes)
    if let exposed = failures.exposed {
      guard mode & 0o077 == 0 else {
        throw CredentialError(
          exposed, path,
          "\(failures.what) can be read by others: its mode is \(String(mode, radix: 8))",
          hint: "chmod 600 \(path)")
      }
    }
    guard !facts.belongsToOthers else {
      throw CredentialError(
        .ownedByOthers, path,
        "\(failures.what) belongs to user \(facts.user), who is neither root nor the caller",
        hint: "chown root \(path)")
    }
    guard !facts.isWritableByOthers else {
      throw CredentialError(
        .writableByOthers, path,
        "\(failures.what) can be changed by others: its mode is \(String(mode, radix: 8))",
        hint: "chmod go-w \(path)")
    }
  }

  deinit { if isSecret { wipe(&bytes) } }

  private static func explain(
    _ error: Errno, _ path: String, _ limit: Int, _ failures: Failures
  ) -> CredentialError {
    switch error {
    case .noSuchFileOrDirectory, .notDirectory:
      CredentialError(
        failures.missing, path, "\(failures.what) is missing", hint: failures.hint)
    case .isDirectory:
      CredentialError(.notRegular, path, "a directory, where \(failures.what) should be")
    case .fileTooLarge:
      CredentialError(.tooLarge, path, "larger than \(limit) bytes, so not \(failures.what)")
    default:
      CredentialError(.fileUnreadable, path, "cannot be read: \(error)")
    }
  }
}
