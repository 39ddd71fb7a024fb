// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import SystemPackage

/// The unfinished copy beside its destination, `FILE.nbd-secure-partial`. In a directory where others
/// can write, such a file may be theirs, or another name of a file that is not to be overwritten.
enum PartialFile {
  /// Opens it, locked; makes it anew where it is missing, or not trusted and not to be kept.
  ///
  /// - Throws: `NBDSecureError` for one that another copy is writing, or that is to be kept and is
  ///   not trusted; `Errno`.
  static func open(_ path: String, keeping: Bool) throws -> Descriptor {
    // Others may come and go with the name in between; nobody does so for long.
    for _ in 0..<8 {
      let facts: FileFacts
      do throws(Errno) { facts = try FileFacts(path: path, followLinks: false) } catch {
        guard error == .noSuchFileOrDirectory else { throw error }
        do {
          return try locked(
            openFile(path, flags: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600), path)
        } catch Errno.fileExists { continue }
      }
      if reason(against: facts) != nil {
        if keeping { try check(facts, path) }
        try removeFile(path)
        continue
      }
      let file = try locked(openFile(path, flags: O_RDWR | O_NOFOLLOW), path)
      let opened = try FileFacts(of: file.raw)
      // A copy that ended between our look and our lock has given the file its name.
      guard let named = try? FileFacts(path: path, followLinks: false),
        named.inode == opened.inode, named.device == opened.device
      else { continue }
      try check(opened, path)
      return file
    }
    throw Errno.fileExists
  }

  private static func locked(
    _ file: consuming Descriptor, _ path: String
  ) throws -> Descriptor {
    guard try lockExclusively(file.raw) else {
      throw NBDSecureError(
        .other, "\(path): another copy is writing to it",
        hint: "wait until it ends, or copy to another file")
    }
    return file
  }

  /// - Throws: `NBDSecureError` with `.usage` for a file that somebody else could have made.
  static func check(_ facts: FileFacts, _ path: String) throws(NBDSecureError) {
    guard let reason = reason(against: facts) else { return }
    throw usage(
      "\(path): cannot go on with it: \(reason)",
      hint: "leave out --resume to copy from the beginning")
  }

  private static func reason(against facts: FileFacts) -> String? {
    if !facts.isRegular { return "it is no regular file" }
    if facts.user != ThisProcess.effectiveUser { return "it belongs to another user" }
    if facts.mode & 0o022 != 0 { return "others can write to it" }
    if facts.links != 1 { return "the file has another name as well" }
    return nil
  }
}
