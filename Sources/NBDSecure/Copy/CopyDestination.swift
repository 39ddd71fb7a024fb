// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import SystemPackage

/// Where a download goes. A regular file is written under another name, and gets its own when all of
/// it is there and on stable storage: an unfinished copy never looks like a finished one.
struct CopyDestination: Sendable {
  static let partialSuffix = ".nbd-secure-partial"

  enum Kind: Sendable { case file, blockDevice, stream }

  let path: String
  let kind: Kind
  private let isStandardOutput: Bool

  var partial: String { path + Self.partialSuffix }
  var sideFile: String { path + CopyState.suffix }

  /// Looks at what is there; writes nothing.
  ///
  /// - Throws: `NBDSecureError` with `.usage` for what may not be overwritten.
  init(_ request: CopyRequest) throws(NBDSecureError) {
    isStandardOutput = request.isStandardStream
    // The target of a link is replaced, not the link, also where it is not there yet.
    path =
      isStandardOutput
      ? "standard output" : realPath(request.file) ?? targetOfLinks(request.file)
    guard !isStandardOutput else {
      kind = .stream
      return
    }
    let facts: FileFacts
    do { facts = try FileFacts(path: path) } catch {
      guard error == .noSuchFileOrDirectory else {
        throw NBDSecureError(.other, "\(path): \(error)", underlying: error)
      }
      kind = .file
      return
    }
    if facts.isDirectory {
      throw usage("\(path): is a directory", hint: "name the file to write")
    }
    guard facts.isRegular || facts.isBlockDevice else {
      kind = .stream
      if request.resume || request.verify {
        throw usage("\(path): --resume and --verify need a file that can be read again")
      }
      return
    }
    kind = facts.isRegular ? .file : .blockDevice
    if kind == .blockDevice, request.resume {
      throw usage("\(path): --resume is for regular files")
    }
    guard request.force else {
      throw usage(
        kind == .file ? "\(path): exists already" : "\(path): is a block device",
        hint: "--force overwrites it")
    }
  }

  /// Opens the destination for an export of `size` bytes. With `keeping`, what is in an unfinished
  /// copy stays.
  func open(size: UInt64, keeping: Bool) throws(NBDSecureError) -> LocalFile {
    switch kind {
    case .stream: return try openStream()
    case .blockDevice: return try openDevice(size)
    case .file: break
    }
    do {
      let file = try PartialFile.open(partial, keeping: keeping)
      if !keeping { try setLength(file.raw, 0) }
      try setLength(file.raw, size)
      return LocalFile(file, name: path, kind: .regular, length: size, isFresh: !keeping)
    } catch let error as NBDSecureError {
      throw error
    } catch {
      throw NBDSecureError(
        .other, "\(partial): cannot be created: \(error)",
        hint: error as? Errno == .noSuchFileOrDirectory ? "make its directory first" : nil,
        underlying: error)
    }
  }

  private func openStream() throws(NBDSecureError) -> LocalFile {
    if isStandardOutput {
      return LocalFile(
        Descriptor(owning: 1), name: path, kind: .stream, length: nil, isFresh: false)
    }
    do {
      return LocalFile(
        try openFile(path, flags: O_WRONLY), name: path, kind: .stream, length: nil,
        isFresh: false)
    } catch {
      throw NBDSecureError(.other, "\(path): cannot be opened: \(error)", underlying: error)
    }
  }

  private func openDevice(_ size: UInt64) throws(NBDSecureError) -> LocalFile {
    do {
      // O_EXCL: not while it is mounted, or part of something else.
      let file = try openFile(path, flags: O_RDWR | O_EXCL)
      let room = try LinuxIO.length(of: file.raw)
      guard room >= size else {
        throw usage("\(path): has \(room) bytes, and the export \(size)")
      }
      return LocalFile(file, name: path, kind: .blockDevice, length: room, isFresh: false)
    } catch let error as NBDSecureError {
      throw error
    } catch {
      throw NBDSecureError(
        .other, "\(path): cannot be opened: \(error)",
        hint: error as? Errno == .resourceBusy ? "it is mounted, or in use" : nil,
        underlying: error)
    }
  }

  /// The copy is complete and durable: it gets its name, and nothing is left beside it.
  func finish() throws(NBDSecureError) {
    guard kind == .file else { return }
    do {
      try renameDurably(partial, to: path)
      try OwnFile.remove(sideFile)
    } catch {
      throw NBDSecureError(
        .io, "\(path): cannot be given its name: \(error)", underlying: error)
    }
  }
}
