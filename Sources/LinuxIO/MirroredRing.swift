// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// Memory for a stream of bytes that goes round in it, addressed by positions that only grow. Its
/// beginning is mapped once more behind its end, so that short runs never wrap.
///
/// The second mapping is no larger than the runs that must not be cut: pages mapped twice are counted
/// twice by all who look at a process's memory, and locked twice.
@safe
package struct MirroredRing: ~Copyable {
  /// How many bytes it holds, a multiple of the page size.
  package let capacity: Int
  /// How many bytes of its beginning follow its end, a multiple of the page size.
  package let mirrored: Int
  private let base: UnsafeMutableRawPointer
  /// The first position that it holds, or held, since it began anew.
  private var origin: UInt64 = 0

  /// Maps a ring of at least `capacity` bytes, of which at least `mirrored` can be had in one run
  /// from everywhere; both are rounded up to whole pages.
  ///
  /// - Throws: `Errno`: `invalidArgument` where a size is no size, else what the kernel says.
  package init(capacity: Int, mirrored: Int) throws(Errno) {
    let page = ThisProcess.pageSize
    guard mirrored > 0, mirrored <= capacity, capacity <= 1 << 40 else { throw .invalidArgument }
    let whole = (capacity + page - 1) / page * page
    let again = (mirrored + page - 1) / page * page
    unsafe base = try Self.mapTwice(whole, again)
    (self.capacity, self.mirrored) = (whole, again)
  }

  deinit { unsafe munmap(base, capacity + mirrored) }

  /// The bytes from a position of the stream on that lie in one run: `mirrored` of them at least.
  @unsafe package func run(from position: UInt64) -> UnsafeMutableRawBufferPointer {
    let start = Int((position - origin) % UInt64(capacity))
    return unsafe UnsafeMutableRawBufferPointer(
      start: base + start, count: min(capacity, capacity + mirrored - start))
  }

  /// Begins anew with `position` at the beginning of its memory: nothing that it holds is needed, and
  /// no earlier position is asked for.
  package mutating func restart(at position: UInt64) { origin = position }

  private static func mapTwice(
    _ size: Int, _ mirrored: Int
  ) throws(Errno) -> UnsafeMutableRawPointer {
    let file = try unsafe Descriptor(checking: clinux_memfd("nbd-secure-ring"))
    try check(ftruncate(file.raw, size))
    let reserved = try unsafe map(
      nil, size + mirrored, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1)
    do {
      for (offset, length) in [(0, size), (size, mirrored)] {
        _ = try unsafe map(
          reserved + offset, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.raw)
      }
    } catch {
      unsafe munmap(reserved, size + mirrored)
      throw error
    }
    return unsafe reserved
  }

  private static func map(
    _ at: UnsafeMutableRawPointer?, _ length: Int, _ protection: Int32, _ flags: Int32,
    _ file: Int32
  ) throws(Errno) -> UnsafeMutableRawPointer {
    guard let mapped = unsafe mmap(at, length, protection, flags, file, 0),
      unsafe mapped != MAP_FAILED
    else { throw lastErrno() }
    return unsafe mapped
  }
}
