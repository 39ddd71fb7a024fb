// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// A ring buffer whose pages are mapped twice, back to back: every run of up to `capacity` bytes is
/// contiguous in memory, wherever in the ring it starts.
@safe
package struct MirroredRing: ~Copyable {
  /// How many bytes it holds, a multiple of the page size.
  package let capacity: Int
  /// The start of the first mapping; `2 * capacity` bytes are valid from here.
  @unsafe package let base: UnsafeMutableRawPointer
  /// Where the oldest byte is, below `capacity`.
  package private(set) var start = 0
  /// How many bytes are held.
  package private(set) var count = 0

  /// Maps a ring of at least that many bytes, rounded up to whole pages.
  package init(capacity wanted: Int) throws(Errno) {
    let page = ThisProcess.pageSize
    guard wanted > 0, wanted <= 1 << 40 else { throw .invalidArgument }
    let rounded = (wanted + page - 1) / page * page
    unsafe base = try Self.mapTwice(rounded)
    capacity = rounded
  }

  deinit { unsafe munmap(base, 2 * capacity) }

  private static func mapTwice(_ size: Int) throws(Errno) -> UnsafeMutableRawPointer {
    let file = try unsafe Descriptor(checking: clinux_memfd("nbd-secure-ring"))
    try check(ftruncate(file.raw, size))
    let reserved = try unsafe map(nil, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1)
    do {
      for offset in [0, size] {
        _ = try unsafe map(
          reserved + offset, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.raw)
      }
    } catch {
      unsafe munmap(reserved, 2 * size)
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

  /// How many more bytes fit.
  package var free: Int { capacity - count }

  /// The bytes held, oldest first.
  @unsafe package var readable: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: base + start, count: count)
  }

  /// The free space, to be filled from its start.
  @unsafe package var writable: UnsafeMutableRawBufferPointer {
    let end = start + count
    return unsafe UnsafeMutableRawBufferPointer(
      start: base + (end >= capacity ? end - capacity : end), count: free)
  }

  /// Counts `bytes` as held that were put at the start of `writable`; more than fit are ignored.
  package mutating func produced(_ bytes: Int) { count += max(0, min(bytes, free)) }

  /// Lets go of the oldest `bytes`; of all when there are fewer.
  package mutating func consumed(_ bytes: Int) {
    let bytes = max(0, min(bytes, count))
    start += bytes
    if start >= capacity { start -= capacity }
    count -= bytes
  }

  /// Lets go of everything.
  package mutating func clear() {
    start = 0
    count = 0
  }
}
