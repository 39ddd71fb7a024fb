// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// Policy files as they lie on disk, and whether they can be trusted there.
enum PolicyStorage {
  /// The largest policy file.
  static let maximumFileSize = 256 * 1024
  /// The most files that a policy directory holds.
  static let maximumFileCount = 256

  /// Whether something is there. A symbolic link that leads nowhere is something: it must not read
  /// as "no policy".
  static func isPresent(_ path: String) throws(PolicyError) -> Bool {
    var facts = stat()
    if unsafe lstat(path, &facts) == 0 { return true }
    let error = Errno(rawValue: Glibc.errno)
    guard error == .noSuchFileOrDirectory else { throw unreadable(path, error) }
    return false
  }

  /// Refuses a directory in which others could add, replace or remove files.
  static func checkDirectory(_ path: String) throws(PolicyError) {
    var facts = stat()
    guard unsafe stat(path, &facts) == 0 else {
      throw unreadable(path, Errno(rawValue: Glibc.errno))
    }
    guard facts.st_mode & S_IFMT == S_IFDIR else {
      throw PolicyError(file: path, "is not a directory")
    }
    try checkOwner(path, facts)
  }

  /// The `*.toml` of a directory, without hidden ones, in byte order.
  static func policyFiles(in directory: String) throws(PolicyError) -> [String] {
    guard let stream = unsafe opendir(directory) else {
      throw unreadable(directory, Errno(rawValue: Glibc.errno))
    }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while true {
      Glibc.errno = 0
      guard let entry = unsafe readdir(stream) else { break }
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
      }
      if name.hasSuffix(".toml") && !name.hasPrefix(".") { names.append(name) }
    }
    if Glibc.errno != 0 { throw unreadable(directory, Errno(rawValue: Glibc.errno)) }
    guard names.count <= maximumFileCount else {
      throw PolicyError(file: directory, "holds more than \(maximumFileCount) policy files")
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { "\(directory)/\($0)" }
  }

  /// Reads a file that nobody but root and the caller can have written.
  static func read(_ path: String) throws(PolicyError) -> String {
    let bytes: [UInt8]
    do {
      let file = try unsafe FileDescriptor.open(
        path, .readOnly, options: [.nonBlocking, .closeOnExec])
      defer { try? file.close() }
      var facts = stat()
      guard unsafe fstat(file.rawValue, &facts) == 0 else {
        throw Errno(rawValue: Glibc.errno)
      }
      guard facts.st_mode & S_IFMT == S_IFREG else {
        throw PolicyError(file: path, "is not a regular file")
      }
      try checkOwner(path, facts)
      bytes = try read(file, path)
    } catch let error as PolicyError {
      throw error
    } catch let error as Errno {
      throw unreadable(path, error)
    } catch {
      throw PolicyError(file: path, "cannot be read")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
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

  private static func read(_ file: FileDescriptor, _ path: String) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16 * 1024)
    while true {
      let count = unsafe try buffer.withUnsafeMutableBytes { unsafe try file.read(into: $0) }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
      guard bytes.count <= maximumFileSize else {
        throw PolicyError(file: path, "is larger than \(maximumFileSize) bytes")
      }
    }
  }

  private static func checkOwner(_ path: String, _ facts: stat) throws(PolicyError) {
    guard facts.st_uid == 0 || facts.st_uid == geteuid() else {
      throw PolicyError(
        file: path, "belongs to user \(facts.st_uid), who is neither root nor the caller",
        hint: "chown root \(path)")
    }
    guard facts.st_mode & 0o022 == 0 else {
      throw PolicyError(
        file: path, "can be written by others (mode \(String(facts.st_mode & 0o7777, radix: 8)))",
        hint: "chmod go-w \(path)")
    }
  }

  private static func unreadable(_ path: String, _ error: Errno) -> PolicyError {
    PolicyError(file: path, "cannot be read: \(error)")
  }
}
