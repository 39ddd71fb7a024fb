// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// What fstat(2) tells about a file.
package struct FileFacts: Hashable, Sendable {
  /// A device number.
  package struct Device: Hashable, Sendable {
    package let major: UInt32
    package let minor: UInt32
    package init(major: UInt32, minor: UInt32) {
      self.major = major
      self.minor = minor
    }
  }

  private let rawMode: UInt32
  /// The owner.
  package let user: UInt32
  /// The group.
  package let group: UInt32
  /// In bytes.
  package let size: UInt64
  package let inode: UInt64
  /// The device that holds the file.
  package let device: Device
  /// The device that a block or character special file stands for.
  package let special: Device
  /// Names that the file has.
  package let links: UInt64
  /// Last change of the contents, seconds since 1970.
  package let modified: Int64
  /// What the last change was later than `modified`, nanoseconds.
  package let modifiedNanoseconds: UInt32

  /// The permission bits, 0o7777.
  package var mode: UInt32 { rawMode & 0o7777 }
  /// Whether somebody but root and the caller owns it, and so can change it.
  package var belongsToOthers: Bool { user != 0 && user != geteuid() }
  /// Whether its group, or everybody, may write to it.
  package var isWritableByOthers: Bool { mode & 0o022 != 0 }
  package var isRegular: Bool { rawMode & S_IFMT == S_IFREG }
  package var isDirectory: Bool { rawMode & S_IFMT == S_IFDIR }
  package var isBlockDevice: Bool { rawMode & S_IFMT == S_IFBLK }
  package var isSymbolicLink: Bool { rawMode & S_IFMT == S_IFLNK }
  package var isSocket: Bool { rawMode & S_IFMT == S_IFSOCK }

  /// Whether both are of one file, whatever its names.
  package func isSameFile(as other: FileFacts) -> Bool {
    inode == other.inode && device == other.device
  }

  /// `modified` to the nanosecond, for files that were changed between 1678 and 2262.
  package var modifiedInNanoseconds: Int64 {
    modified &* 1_000_000_000 &+ Int64(modifiedNanoseconds)
  }

  private init(_ raw: clinux_file_facts) {
    rawMode = raw.mode
    user = raw.uid
    group = raw.gid
    size = raw.size
    inode = raw.inode
    device = Device(major: raw.device_major, minor: raw.device_minor)
    special = Device(major: raw.special_major, minor: raw.special_minor)
    links = raw.links
    modified = raw.modified_seconds
    modifiedNanoseconds = raw.modified_nanoseconds
  }

  /// Of an open file.
  package init(of descriptor: Int32) throws(Errno) {
    var raw = clinux_file_facts()
    try unsafe check(clinux_fstat(descriptor, &raw))
    self.init(raw)
  }

  /// Of a path; of what a symbolic link points to, unless `followLinks` is false.
  package init(path: String, followLinks: Bool = true) throws(Errno) {
    var raw = clinux_file_facts()
    try unsafe check(clinux_stat(path, followLinks ? 1 : 0, &raw))
    self.init(raw)
  }

  /// Of what has a name, a symbolic link itself; nil when nothing has.
  static func ofName(_ path: String) throws(Errno) -> FileFacts? {
    do { return try FileFacts(path: path, followLinks: false) } catch {
      if error == .noSuchFileOrDirectory { return nil }
      throw error
    }
  }
}

/// A whole file, read through one descriptor so that the facts belong to the bytes.
package struct FileContents: Sendable {
  package var bytes: [UInt8]
  package let facts: FileFacts
}

/// Reads a file of at most `limit` bytes; throws `fileTooLarge` for a longer one, `isDirectory` for
/// a directory. Never blocks on a FIFO. The only copy of the bytes is the one returned, so that a
/// caller can wipe secrets.
package func readFile(_ path: String, limit: Int) throws(Errno) -> FileContents {
  let file = try openFile(path, flags: O_RDONLY | O_NONBLOCK | O_NOCTTY)
  let facts = try FileFacts(of: file.raw)
  if facts.isDirectory { throw .isDirectory }
  // sysfs and proc give sizes of 0 or 4096, whatever is in the file; elsewhere the size is exact,
  // and one allocation is enough, so that no copy of a secret is left behind by growing.
  let isExact = facts.isRegular && facts.size > 0 && facts.size != 4096
  var expected = isExact ? min(Int(clamping: facts.size), limit) : min(16 << 10, limit)
  var bytes = try readUp(to: expected, from: file.raw, behind: [])
  while bytes.count > expected {
    guard expected < limit, !isExact else { throw .fileTooLarge }
    expected = min(expected * 4, limit)
    bytes = try readUp(to: expected, from: file.raw, behind: bytes)
  }
  return FileContents(bytes: bytes, facts: facts)
}

/// What was read before, and what follows it, up to one byte more than `expected`: that byte shows
/// that there is more.
private func readUp(
  to expected: Int, from file: Int32, behind: [UInt8]
) throws(Errno) -> [UInt8] {
  var failed: Errno?
  let bytes = unsafe [UInt8](unsafeUninitializedCapacity: expected + 1) { buffer, count in
    let raw = UnsafeMutableRawBufferPointer(buffer)
    unsafe raw.copyBytes(from: behind)
    var total = behind.count
    loop: while total <= expected {
      switch unsafe readSome(file, into: .init(rebasing: raw[total..<(expected + 1)])) {
      case .bytes(let got): total += got
      case .closed: break loop
      case .wouldBlock:
        failed = .wouldBlock
        break loop
      case .failed(let error):
        failed = error
        break loop
      }
    }
    count = failed == nil ? total : 0
  }
  if let failed { throw failed }
  return bytes
}

/// The text of a small file of the kernel's (sysfs, proc), without the newline at its end.
package func readLine(_ path: String, limit: Int = 4096) throws(Errno) -> String {
  let bytes = try readFile(path, limit: limit).bytes
  return String(decoding: bytes.last == 10 ? bytes.dropLast() : bytes[...], as: UTF8.self)
}

/// Writes to a file that is there already, such as one in sysfs or proc.
package func writeExisting(_ path: String, _ text: String) throws(Errno) {
  let file = try openFile(path, flags: O_WRONLY)
  try writeAll(file.raw, Array(text.utf8))
}

/// Writes all bytes to a blocking descriptor.
package func writeAll(_ file: Int32, _ bytes: [UInt8]) throws(Errno) {
  var done = 0
  while done < bytes.count {
    let outcome = unsafe bytes.withUnsafeBytes {
      unsafe writeSome(file, UnsafeRawBufferPointer(rebasing: $0[done...]))
    }
    switch outcome {
    case .bytes(let more): done += more
    case .wouldBlock: try wait(file, for: .write, until: .never)
    case .closed: throw .brokenPipe
    case .failed(let error): throw error
    }
  }
}

/// Makes a directory; one that is there already is left as it is.
package func makeDirectory(_ path: String, mode: UInt32 = 0o755) throws(Errno) {
  if unsafe mkdir(path, mode) < 0 && Glibc.errno != EEXIST { throw lastErrno() }
}

/// Removes a file; whether it was there.
@discardableResult
package func removeFile(_ path: String) throws(Errno) -> Bool {
  if unsafe unlink(path) == 0 { return true }
  if Glibc.errno == ENOENT { return false }
  throw lastErrno()
}

/// Where a symbolic link points.
package func readLink(_ path: String) throws(Errno) -> String {
  var bytes = [UInt8](repeating: 0, count: 4096)
  let got = unsafe bytes.withUnsafeMutableBytes { buffer in
    unsafe buffer.withMemoryRebound(to: CChar.self) {
      unsafe readlink(path, $0.baseAddress!, $0.count)
    }
  }
  guard got >= 0 else { throw lastErrno() }
  return String(decoding: bytes.prefix(got), as: UTF8.self)
}

private final class NameList {
  var names: [String] = []
}

/// The names in a directory but "." and "..", sorted.
package func listDirectory(_ path: String) throws(Errno) -> [String] {
  let list = NameList()
  try unsafe check(
    clinux_list_directory(path, Unmanaged.passUnretained(list).toOpaque()) { context, name in
      guard let context = unsafe context, let name = unsafe name else { return }
      let list = unsafe Unmanaged<NameList>.fromOpaque(context).takeUnretainedValue()
      list.names.append(unsafe String(cString: name))
    })
  return list.names.sorted()
}

/// Overwrites bytes that held a secret, in a way the compiler does not leave out.
package func wipe(_ bytes: inout [UInt8]) {
  unsafe bytes.withUnsafeMutableBytes { unsafe clinux_wipe($0.baseAddress, $0.count) }
  bytes = []
}

/// Makes a symbolic link where nothing is yet.
package func makeSymbolicLink(_ path: String, to target: String) throws(Errno) {
  try unsafe check(symlink(target, path))
}
