// SPDX-License-Identifier: Apache-2.0
internal import Glibc
package import SystemPackage

/// Counters in a file that other processes may read at any time. Each is written by one thread, with
/// no lock and no system call; on the architectures that we run on a reader sees it before or after.
@safe
package final class SharedCounters: @unchecked Sendable {
  private let base: UnsafeMutablePointer<UInt64>
  private let count: Int

  /// Makes the file anew, all counters zero. It must be on a file system in memory, and nobody may
  /// shorten it.
  package init(path: String, count: Int) throws(Errno) {
    let size = count * MemoryLayout<UInt64>.stride
    try OwnFile.replace(path, [UInt8](repeating: 0, count: size), mode: 0o644)
    let file = try openFile(path, flags: O_RDWR | O_NOFOLLOW)
    guard
      let mapped = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.raw, 0),
      unsafe mapped != MAP_FAILED
    else { throw lastErrno() }
    unsafe base = mapped.bindMemory(to: UInt64.self, capacity: count)
    self.count = count
  }

  deinit { unsafe munmap(base, count * MemoryLayout<UInt64>.stride) }

  /// Adds to one counter; nothing for a place that there is not.
  package func add(_ amount: UInt64, at place: Int) {
    guard place >= 0, place < count else { return }
    unsafe base[place] &+= amount
  }

  /// What a file of counters holds now.
  package static func read(_ path: String, limit: Int) throws(Errno) -> [UInt64] {
    let bytes = try readFile(path, limit: limit * MemoryLayout<UInt64>.stride).bytes
    return stride(from: 0, to: bytes.count - bytes.count % 8, by: 8).map { start in
      (0..<8).reduce(0) { $0 | UInt64(bytes[start + $1]) << (8 * UInt64($1)) }
    }
  }
}
