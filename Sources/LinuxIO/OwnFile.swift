// SPDX-License-Identifier: Apache-2.0
internal import Glibc
package import SystemPackage

/// A file to be written that is the caller's alone, open and locked: in a directory where others can
/// write, what has the name may be theirs, or another name of a file that is not to be overwritten.
package enum OwnFile {
  private static let suffix = ".new"
  /// How long another process may take to write a small file, seconds.
  private static let patience = 30.0

  /// Opens it for reading and writing; nil when another process has it locked.
  ///
  /// - Parameter keeping: throw `noSuchFileOrDirectory` where it is missing and `permissionDenied` where
  ///   it is not ours alone; otherwise it is made anew (0600).
  package static func open(_ path: String, keeping: Bool = false) throws(Errno) -> Descriptor? {
    // Others may come and go with the name in between; nobody does so for long.
    for _ in 0..<8 {
      if let facts = try FileFacts.ofName(path), reason(against: facts) != nil {
        guard !keeping else { throw .permissionDenied }
        try removeFile(path)
      }
      let file: Descriptor
      do {
        let making = keeping ? 0 : O_CREAT
        file = try openFile(path, flags: O_RDWR | O_NOFOLLOW | O_NONBLOCK | making, mode: 0o600)
      } catch {
        if error == .tooManySymbolicLinkLevels { continue }
        throw error
      }
      guard try lockExclusively(file.raw) else { return nil }
      let opened = try FileFacts(of: file.raw)
      // Whoever had the lock before us may have given the file another name.
      guard let named = try FileFacts.ofName(path), named.isSameFile(as: opened),
        reason(against: opened) == nil
      else { continue }
      return file
    }
    throw .fileExists
  }

  /// Why somebody else could have made a file, or could change it; nil for one that is ours alone.
  package static func reason(against facts: FileFacts) -> String? {
    if !facts.isRegular { return "it is no regular file" }
    if facts.user != ThisProcess.effectiveUser { return "it belongs to another user" }
    if facts.isWritableByOthers { return "others can write to it" }
    if facts.links != 1 { return "the file has another name as well" }
    return nil
  }

  /// Replaces a file in one step: whoever reads `path` sees the old contents or the new, whole and on
  /// disk, also after a crash. It has ".new" behind its name while it is written, also after a crash,
  /// until it is written again or removed with `remove`.
  package static func replace(
    _ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644
  ) throws(Errno) {
    let temporary = path + suffix
    let file = try openWaiting(temporary)
    // Its lock is held until it has its name.
    try withExtendedLifetime(file) { () throws(Errno) in
      do throws(Errno) {
        try setLength(file.raw, 0)
        try check(fchmod(file.raw, mode))
        try writeAll(file.raw, bytes)
        try check(fsync(file.raw))
        try renameDurably(temporary, to: path)
      } catch {
        _ = unsafe unlink(temporary)
        throw error
      }
    }
  }

  private static func openWaiting(_ path: String) throws(Errno) -> Descriptor {
    let deadline = Deadline.after(seconds: patience)
    while true {
      if let file = try open(path) { return file }
      guard !deadline.hasPassed else { throw .wouldBlock }
      sleep(seconds: 0.005, until: deadline)
    }
  }

  /// Removes a file that `replace` wrote, and what a writer that was killed left of the next.
  package static func remove(_ path: String) throws(Errno) {
    try removeFile(path)
    let temporary = path + suffix
    guard try FileFacts.ofName(temporary) != nil, let leftover = try open(temporary) else { return }
    // Locked until it is gone: whoever writes next does not begin with it.
    try withExtendedLifetime(leftover) { () throws(Errno) in _ = try removeFile(temporary) }
  }
}
