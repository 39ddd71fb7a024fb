// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import SystemPackage

/// The local side of a copy: a regular file, a block device, or a stream. Several lanes may use it at
/// once, each for other bytes.
final class LocalFile: Sendable {
  enum Kind: Sendable { case regular, blockDevice, stream }

  /// As messages name it.
  let name: String
  let kind: Kind
  /// Bytes; nil for a stream, whose end shows when it is there.
  let length: UInt64?
  /// Whether what was not written reads as zeroes.
  let isFresh: Bool
  /// Last change of the contents, nanoseconds since 1970; nil where that has no meaning.
  let modified: Int64?
  /// Owned, but for the standard streams.
  let descriptor: Int32

  init(
    _ file: consuming Descriptor, name: String, kind: Kind, length: UInt64?, isFresh: Bool,
    modified: Int64? = nil
  ) {
    self.name = name
    self.kind = kind
    self.length = length
    self.isFresh = isFresh
    self.modified = modified
    descriptor = file.release()
  }

  deinit { if descriptor > 2 { _ = Descriptor(owning: descriptor) } }

  /// A source to read from; "-" is standard input.
  ///
  /// - Throws: `NBDSecureError` with `.usage` for what cannot be a source.
  static func source(_ path: String) throws(NBDSecureError) -> LocalFile {
    if path == "-" {
      return LocalFile(
        Descriptor(owning: 0), name: "standard input", kind: .stream, length: nil, isFresh: false)
    }
    do {
      let file = try openFile(path, flags: O_RDONLY)
      let facts = try FileFacts(of: file.raw)
      if facts.isDirectory { throw usage("\(path): is a directory") }
      guard facts.isRegular || facts.isBlockDevice else {
        return LocalFile(file, name: path, kind: .stream, length: nil, isFresh: false)
      }
      let length = try LinuxIO.length(of: file.raw)
      return LocalFile(
        file, name: path, kind: facts.isRegular ? .regular : .blockDevice, length: length,
        isFresh: false, modified: facts.isRegular ? facts.modifiedInNanoseconds : nil)
    } catch let error as NBDSecureError {
      throw error
    } catch Errno.noSuchFileOrDirectory {
      throw usage("\(path): no such file", hint: "copy SOURCE DESTINATION: the source comes first")
    } catch {
      throw NBDSecureError(.other, "\(path): cannot be opened: \(error)", underlying: error)
    }
  }

  // MARK: Reading

  /// What is at a position, and where that ends: at most at `limit`, which is behind it. What lies
  /// behind the file's end is zeroes.
  func extent(at position: UInt64, before limit: UInt64) -> (isZero: Bool, end: UInt64) {
    if let length, position >= length { return (true, limit) }
    do {
      guard let data = try nextData(descriptor, from: position) else { return (true, limit) }
      if data > position { return (true, min(data, limit)) }
      let hole = try nextHole(descriptor, from: position)
      return (false, hole > position ? min(hole, limit) : limit)
    } catch {
      // Whoever cannot tell holes from data has data.
      return (false, limit)
    }
  }

  /// Reads a whole range; what lies behind the file's end is zeroes.
  func read(
    at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
  ) throws(NBDSecureError) {
    let got: Int
    do { got = unsafe try readAt(descriptor, offset, into: buffer) } catch {
      throw failure("cannot be read at offset \(offset)", error)
    }
    guard got < buffer.count else { return }
    if let length, offset + UInt64(got) < length {
      throw NBDSecureError(.io, "\(name): became shorter while it was being copied")
    }
    unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[got...]).initializeMemory(
      as: UInt8.self, repeating: 0)
  }

  /// Waits for the end of a stream that has given as many bytes as there is room for.
  func expectEnd() throws(NBDSecureError) {
    var byte = [UInt8](repeating: 0, count: 1)
    while true {
      switch unsafe byte.withUnsafeMutableBytes({ unsafe readSome(descriptor, into: $0) }) {
      case .closed: return
      case .bytes: throw NBDSecureError(.io, "\(name): is longer than the export")
      case .wouldBlock:
        do { try wait(descriptor, for: .read, until: .never) } catch {
          throw failure("cannot be read", error)
        }
      case .failed(let errno): throw failure("cannot be read", errno)
      }
    }
  }

  // MARK: Writing

  /// Writes bytes of a file or device, and leaves holes where there are zeroes.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(NBDSecureError) {
    var start = 0
    while start < bytes.count {
      let run = unsafe ZeroRun(
        in: bytes, from: start, offset: offset, granularity: CopyLimits.fileGranularity)
      if run.isZero {
        try zero(offset + UInt64(start)..<offset + UInt64(run.end))
      } else {
        let data = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<run.end])
        do { unsafe try writeAt(descriptor, offset + UInt64(start), data) } catch {
          throw failure("cannot be written at offset \(offset)", error)
        }
      }
      start = run.end
    }
  }

  /// Makes a part of a file or device read as zeroes.
  func zero(_ range: Range<UInt64>) throws(NBDSecureError) {
    guard !isFresh else { return }
    do {
      try punchHole(descriptor, range)
    } catch {
      // Not every file system and device can; all can write.
      try writeZeroes(range)
    }
  }

  private func writeZeroes(_ range: Range<UInt64>) throws(NBDSecureError) {
    let zeroes = [UInt8](repeating: 0, count: 1 << 20)
    var position = range.lowerBound
    while position < range.upperBound {
      let count = Int(min(range.upperBound - position, UInt64(zeroes.count)))
      let failed = unsafe zeroes.withUnsafeBytes { bytes -> Errno? in
        do throws(Errno) {
          unsafe try writeAt(
            descriptor, position, UnsafeRawBufferPointer(rebasing: bytes[..<count]))
          return nil
        } catch { return error }
      }
      if let failed { throw failure("cannot be written at offset \(position)", failed) }
      position += UInt64(count)
    }
  }

  /// Writes bytes to a stream.
  func append(_ bytes: UnsafeRawBufferPointer) throws(NBDSecureError) {
    var done = 0
    while done < bytes.count {
      switch unsafe writeSome(descriptor, UnsafeRawBufferPointer(rebasing: bytes[done...])) {
      case .bytes(let n): done += n
      case .wouldBlock:
        do { try wait(descriptor, for: .write, until: .never) } catch {
          throw failure("cannot be written", error)
        }
      case .closed: throw failure("cannot be written", .brokenPipe)
      case .failed(let errno): throw failure("cannot be written", errno)
      }
    }
  }

  /// What was written is on stable storage, where the file is of a kind that has any.
  func sync() throws(NBDSecureError) {
    do { try syncData(descriptor) } catch {
      // A pipe or a terminal keeps nothing.
      if kind == .stream, error == .invalidArgument { return }
      throw failure("cannot be brought to stable storage", error)
    }
  }

  /// Makes the next reads come from the disk.
  func forgetCache() { dropCache(descriptor) }

  func failure(_ what: String, _ errno: Errno) -> NBDSecureError {
    NBDSecureError(.io, "\(name): \(what): \(errno)", underlying: errno)
  }
}

/// A run of blocks that are all zero, or none of which is.
struct ZeroRun {
  let isZero: Bool
  /// Where it ends, counted like `start`.
  let end: Int

  /// The run that begins at `start`. Blocks are those of the file or export that the bytes belong to,
  /// from `offset` on; a block is cut short only by the bytes' ends.
  init(in bytes: UnsafeRawBufferPointer, from start: Int, offset: UInt64, granularity: UInt64) {
    func block(_ from: Int) -> Int {
      let position = offset + UInt64(from)
      return min(bytes.count, from + Int(granularity - position % granularity))
    }
    var end = block(start)
    let first = unsafe LinuxIO.isZero(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
    while end < bytes.count {
      let next = block(end)
      let zero = unsafe LinuxIO.isZero(UnsafeRawBufferPointer(rebasing: bytes[end..<next]))
      if zero != first { break }
      end = next
    }
    isZero = first
    self.end = end
  }
}
