// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import SystemPackage

/// The unfinished copy beside its destination, `FILE.nbd-secure-partial`.
enum PartialFile {
  /// Opens it, locked; makes it anew where it is missing, or not trusted and not to be kept.
  ///
  /// - Throws: `NBDSecureError` for one that another copy is writing, or that is to be kept and is
  ///   not trusted; `Errno`.
  static func open(_ path: String, keeping: Bool) throws -> Descriptor {
    if keeping {
      do {
        try check(FileFacts(path: path, followLinks: false), path)
        return try ours(OwnFile.open(path, keeping: true), path)
      } catch Errno.noSuchFileOrDirectory {}
    }
    return try ours(OwnFile.open(path), path)
  }

  private static func ours(
    _ file: consuming Descriptor?, _ path: String
  ) throws(NBDSecureError) -> Descriptor {
    guard let file else {
      throw NBDSecureError(
        .other, "\(path): another copy is writing to it",
        hint: "wait until it ends, or copy to another file")
    }
    return file
  }

  /// - Throws: `NBDSecureError` with `.usage` for a file that somebody else could have made.
  static func check(_ facts: FileFacts, _ path: String) throws(NBDSecureError) {
    guard let reason = OwnFile.reason(against: facts) else { return }
    throw usage(
      "\(path): cannot go on with it: \(reason)",
      hint: "leave out --resume to copy from the beginning")
  }
}
