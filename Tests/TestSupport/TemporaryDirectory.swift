// SPDX-License-Identifier: Apache-2.0
package import Foundation

/// A directory of one test's own, mode 0700, removed with everything in it when the value goes away.
package final class TemporaryDirectory: Sendable {
  /// Absolute path, short enough for Unix socket names.
  package let path: String

  /// Creates the directory under `TMPDIR`, else `/tmp`.
  package init() throws {
    let base = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
    var template = Array("\(base)/nbds.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError("mkdtemp \(base)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of `name` inside the directory.
  package func file(_ name: String) -> String { path + "/" + name }

  /// Writes a file with the given mode and returns its path.
  @discardableResult
  package func write(_ name: String, _ text: String, mode: mode_t = 0o600) throws -> String {
    try write(name, Array(text.utf8), mode: mode)
  }

  /// Writes a file with the given mode and returns its path.
  @discardableResult
  package func write(_ name: String, _ bytes: [UInt8], mode: mode_t = 0o600) throws -> String {
    let target = file(name)
    try Data(bytes).write(to: URL(fileURLWithPath: target))
    guard chmod(target, mode) == 0 else { throw SystemError("chmod \(target)") }
    return target
  }

  /// Creates a sub-directory with the given mode and returns its path.
  @discardableResult
  package func directory(_ name: String, mode: mode_t = 0o700) throws -> String {
    let target = file(name)
    guard mkdir(target, mode) == 0 else { throw SystemError("mkdir \(target)") }
    return target
  }

  /// Creates a file of `size` bytes, all holes, and returns its path.
  package func disk(_ name: String = "disk.img", size: Int) throws -> String {
    let target = try write(name, "")
    guard truncate(target, off_t(size)) == 0 else { throw SystemError("truncate \(target)") }
    return target
  }
}

/// A system call of the harness itself that failed.
package struct SystemError: Error, CustomStringConvertible {
  /// What failed and why.
  package let description: String

  /// Reads `errno`: call it right after the failure.
  package init(_ what: String) {
    let number = errno
    description = "\(what): \(String(cString: strerror(number)))"
  }

  /// A failure with a reason of its own.
  package init(_ what: String, because reason: String) { description = "\(what): \(reason)" }
}
