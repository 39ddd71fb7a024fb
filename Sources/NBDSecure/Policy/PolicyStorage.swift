// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import SystemPackage

/// Policy files as they lie on disk, and whether they can be trusted there.
enum PolicyStorage {
  /// The largest policy file, in bytes.
  static let maximumFileSize = 256 * 1024
  /// The most policy files that a directory holds.
  static let maximumFileCount = 256

  /// Whether something is there. A symbolic link that leads nowhere is something: it must not read
  /// as "no policy".
  static func isPresent(_ path: String) throws(PolicyError) -> Bool {
    do throws(Errno) {
      _ = try FileFacts(path: path, followLinks: false)
      return true
    } catch {
      guard error == .noSuchFileOrDirectory else { throw unreadable(path, error) }
      return false
    }
  }

  /// Refuses a directory in which others could add, replace or remove files.
  static func checkDirectory(_ path: String) throws(PolicyError) {
    let facts: FileFacts
    do throws(Errno) {
      facts = try FileFacts(path: path)
    } catch {
      throw unreadable(path, error)
    }
    guard facts.isDirectory else { throw PolicyError(file: path, "is not a directory") }
    try checkOwner(path, facts)
  }

  /// The `*.toml` of a directory, without hidden ones, in byte order.
  static func policyFiles(in directory: String) throws(PolicyError) -> [String] {
    let names: [String]
    do throws(Errno) {
      names = try listDirectory(directory).filter { $0.hasSuffix(".toml") && !$0.hasPrefix(".") }
    } catch {
      throw unreadable(directory, error)
    }
    guard names.count <= maximumFileCount else {
      throw PolicyError(file: directory, "holds more than \(maximumFileCount) policy files")
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { "\(directory)/\($0)" }
  }

  /// Reads a file that nobody but root and the caller can have written.
  static func read(_ path: String) throws(PolicyError) -> String {
    let contents: FileContents
    do throws(Errno) {
      contents = try readFile(path, limit: maximumFileSize)
    } catch .fileTooLarge {
      throw PolicyError(file: path, "is larger than \(maximumFileSize) bytes")
    } catch .isDirectory {
      throw PolicyError(file: path, "is not a regular file")
    } catch {
      throw unreadable(path, error)
    }
    guard contents.facts.isRegular else { throw PolicyError(file: path, "is not a regular file") }
    try checkOwner(path, contents.facts)
    guard let text = String(validating: contents.bytes, as: UTF8.self) else {
      throw PolicyError(file: path, "is not UTF-8 text")
    }
    return text
  }

  /// The path as the kernel sees it, symbolic links resolved; as given where nothing is there.
  static func canonicalPath(_ path: String) -> String {
    guard let resolved = unsafe realpath(path, nil) else { return path }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }

  private static func checkOwner(_ path: String, _ facts: FileFacts) throws(PolicyError) {
    guard !facts.belongsToOthers else {
      throw PolicyError(
        file: path, "belongs to user \(facts.user), who is neither root nor the caller",
        hint: "chown root \(path)")
    }
    guard !facts.isWritableByOthers else {
      throw PolicyError(
        file: path, "can be written by others (mode \(String(facts.mode, radix: 8)))",
        hint: "chmod go-w \(path)")
    }
  }

  private static func unreadable(_ path: String, _ error: Errno) -> PolicyError {
    PolicyError(file: path, "cannot be read: \(error)")
  }
}
