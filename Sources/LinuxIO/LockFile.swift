// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// An exclusive lock on a file for as long as the value lives, and no longer than the process.
///
/// It is a lock of the open file description (F_OFD_SETLK), so it goes with the descriptor as flock
/// does, but can be looked at without being taken: asking who holds it disturbs nobody.
package struct LockFile: ~Copyable, Sendable {
  /// The open, locked file.
  package let descriptor: Descriptor

  /// Takes the lock without waiting, making the file where it is missing; nil when it is held.
  /// Writes our process number into it for `holder(of:)`.
  package static func acquire(_ path: String, mode: UInt32 = 0o644) throws(Errno) -> LockFile? {
    let file = try openFile(path, flags: O_RDWR | O_CREAT | O_NOFOLLOW, mode: mode)
    guard try lockExclusively(file.raw) else { return nil }
    // The holder before us may have removed the file between our open and our lock.
    guard try isStill(file.raw, at: path) else { return try acquire(path, mode: mode) }
    let text = Array("\(getpid())\n".utf8)
    try check(ftruncate(file.raw, 0))
    _ = unsafe text.withUnsafeBytes { unsafe pwrite(file.raw, $0.baseAddress, $0.count, 0) }
    return LockFile(descriptor: file)
  }

  private init(descriptor: consuming Descriptor) { self.descriptor = descriptor }

  private static func isStill(_ file: Int32, at path: String) throws(Errno) -> Bool {
    let opened = try FileFacts(of: file)
    guard let named = try? FileFacts(path: path) else { return false }
    return opened.isSameFile(as: named)
  }

  /// The process that holds the lock: nil when nobody does, 0 when somebody does who left no number.
  package static func holder(of path: String) throws(Errno) -> Int32? {
    do {
      return try holder(of: openFile(path, flags: O_RDONLY | O_NOFOLLOW))
    } catch .noSuchFileOrDirectory {
      return nil
    }
  }

  private static func holder(of file: consuming Descriptor) throws(Errno) -> Int32? {
    guard try check(clinux_lock_probe(file.raw)) > 0 else { return nil }
    var text = [UInt8](repeating: 0, count: 16)
    let got = unsafe text.withUnsafeMutableBytes {
      unsafe pread(file.raw, $0.baseAddress, $0.count, 0)
    }
    let digits = text.prefix(max(got, 0)).prefix { (48...57).contains($0) }
    return Int32(String(decoding: digits, as: UTF8.self)) ?? 0
  }
}
