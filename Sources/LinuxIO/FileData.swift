// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

// Data of files and block devices at an offset, and the holes in it.

/// Reads from `offset` on until the buffer is full or the file ends; how many bytes there were.
package func readAt(
  _ file: Int32, _ offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
) throws(Errno) -> Int {
  var got = 0
  while got < buffer.count {
    let place = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[got...])
    let result = unsafe pread(
      file, place.baseAddress, place.count, off_t(clamping: offset &+ UInt64(got)))
    if result == 0 { break }
    if result < 0 && Glibc.errno == EINTR { continue }
    guard result > 0 else { throw lastErrno() }
    got += result
  }
  return got
}

/// Writes all bytes from `offset` on.
package func writeAt(
  _ file: Int32, _ offset: UInt64, _ bytes: UnsafeRawBufferPointer
) throws(Errno) {
  var done = 0
  while done < bytes.count {
    let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[done...])
    let result = unsafe pwrite(
      file, rest.baseAddress, rest.count, off_t(clamping: offset &+ UInt64(done)))
    if result < 0 && Glibc.errno == EINTR { continue }
    guard result >= 0 else { throw lastErrno() }
    if result == 0 { throw .noSpace }
    done += result
  }
}

/// The first data at or behind `offset`; nil where only a hole follows. A file system that knows of
/// no holes answers with `offset`.
package func nextData(_ file: Int32, from offset: UInt64) throws(Errno) -> UInt64? {
  let result = clinux_seek_data(file, Int64(clamping: offset))
  if result >= 0 { return UInt64(result) }
  if Glibc.errno == ENXIO { return nil }
  throw lastErrno()
}

/// The first hole at or behind `offset`, which is before the end; the end of the file counts as one.
package func nextHole(_ file: Int32, from offset: UInt64) throws(Errno) -> UInt64 {
  let result = clinux_seek_hole(file, Int64(clamping: offset))
  guard result >= 0 else { throw lastErrno() }
  return UInt64(result)
}

/// The length of a regular file or a block device.
package func length(of file: Int32) throws(Errno) -> UInt64 {
  let result = lseek(file, 0, SEEK_END)
  guard result >= 0 else { throw lastErrno() }
  return UInt64(result)
}

/// Makes a regular file that long: cut, or with a hole at its end.
package func setLength(_ file: Int32, _ length: UInt64) throws(Errno) {
  try check(ftruncate(file, off_t(clamping: length)))
}

/// Makes a part of a file or block device read as zeroes, without data where that is possible.
/// Throws `notSupported` where only writing zeroes helps.
package func punchHole(_ file: Int32, _ range: Range<UInt64>) throws(Errno) {
  let length = range.upperBound - range.lowerBound
  while clinux_punch_hole(file, Int64(clamping: range.lowerBound), Int64(clamping: length)) < 0 {
    if Glibc.errno != EINTR { throw lastErrno() }
  }
}

/// fdatasync(2): the data is on stable storage, and what is needed to read it.
package func syncData(_ file: Int32) throws(Errno) { try check(fdatasync(file)) }

/// Asks the kernel to drop what it has cached of a file, so that it is read anew.
package func dropCache(_ file: Int32) { _ = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) }

/// Gives a file another name in its file system, on stable storage.
///
/// - Parameter replacing: take the place of what has that name; otherwise throw `fileExists`.
package func renameDurably(
  _ old: String, to new: String, replacing: Bool = true
) throws(Errno) {
  if replacing {
    try unsafe check(rename(old, new))
  } else {
    try renameToFreeName(old, new)
  }
  try syncDirectory(of: new)
}

private func renameToFreeName(_ old: String, _ new: String) throws(Errno) {
  do throws(Errno) { try unsafe check(clinux_rename_no_replace(old, new)) } catch {
    // Some file systems (NFS) cannot do both in one step.
    guard error == .invalidArgument || error == .noFunction else { throw error }
    guard try FileFacts.ofName(new) == nil else { throw .fileExists }
    try unsafe check(rename(old, new))
  }
}

/// Makes the names in a file's directory durable.
package func syncDirectory(of path: String) throws(Errno) {
  let slash = path.lastIndex(of: "/")
  let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  let parent = try openFile(directory, flags: O_RDONLY | O_DIRECTORY)
  try check(fsync(parent.raw))
}

/// Locks an open file against others that do the same, for as long as it is open; false when it is
/// locked already.
package func lockExclusively(_ file: Int32) throws(Errno) -> Bool {
  if clinux_lock_exclusive(file) == 0 { return true }
  let error = lastErrno()
  guard error == .wouldBlock || error == .permissionDenied else { throw error }
  return false
}

/// Whether the descriptor is a terminal.
package func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

/// Columns of a terminal; nil where that is not known.
package func terminalColumns(_ descriptor: Int32) -> Int? {
  let columns = clinux_terminal_columns(descriptor)
  return columns > 0 ? Int(columns) : nil
}

/// Whether all bytes are zero.
package func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
  guard let start = bytes.baseAddress, let first = unsafe bytes.first else { return true }
  guard first == 0 else { return false }
  // Each byte is the same as the one before it.
  return unsafe memcmp(start, start + 1, bytes.count - 1) == 0
}

/// The index of the first byte that differs between two runs of one length; nil when none does.
package func firstDifference(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int? {
  let count = min(a.count, b.count)
  guard let start = a.baseAddress, let other = b.baseAddress, count > 0,
    unsafe memcmp(start, other, count) != 0
  else { return nil }
  return (0..<count).first { unsafe a[$0] != b[$0] }
}
