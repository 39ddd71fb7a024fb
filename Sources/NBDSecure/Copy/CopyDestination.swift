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
  private let replaces: Bool
  private let isStandardOutput: Bool

  var partial: String { path + Self.partialSuffix }
  var sideFile: String { path + CopyState.suffix }

  /// Looks at what is there; writes nothing.
  ///
  /// - Throws: `NBDSecureError` with `.usage` for what may not be overwritten.
  init(_ request: CopyRequest) throws(NBDSecureError) {
    isStandardOutput = request.isStandardStream
    replaces = request.force
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

  /// Opens a destination that is not a regular file, for an export of `size` bytes.
  func open(size: UInt64) throws(NBDSecureError) -> LocalFile {
    kind == .stream ? try openStream() : try openDevice(size)
  }

  /// Opens and locks the unfinished copy, made anew where it is missing: it and its record are ours
  /// from here on. With `keeping`, one that is not trusted is refused and not replaced.
  func lockPartial(keeping: Bool) throws(NBDSecureError) -> Descriptor {
    try creating { try PartialFile.open(partial, keeping: keeping) }
  }

  /// The unfinished copy as what is written to, of `size` bytes. Unless it is kept, nothing is left of
  /// what was there, and of the record first: a record never speaks for what is not there.
  func open(
    _ file: consuming Descriptor, size: UInt64, keeping: Bool
  ) throws(NBDSecureError) -> LocalFile {
    let raw = file.raw
    if !keeping { try forgetRecord() }
    try creating {
      if !keeping { try setLength(raw, 0) }
      try setLength(raw, size)
    }
    return LocalFile(file, name: path, kind: .regular, length: size, isFresh: !keeping)
  }

  private func forgetRecord() throws(NBDSecureError) {
    do {
      try OwnFile.remove(sideFile)
      try syncDirectory(of: sideFile)
    } catch {
      throw NBDSecureError(.other, "\(sideFile): cannot be removed: \(error)", underlying: error)
    }
  }

  private func creating<Made: ~Copyable>(
    _ body: () throws -> Made
  ) throws(NBDSecureError) -> Made {
    do { return try body() } catch let error as NBDSecureError {
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
      try renameDurably(partial, to: path, replacing: replaces)
      try OwnFile.remove(sideFile)
    } catch Errno.fileExists {
      throw NBDSecureError(
        .other, "\(path): was made by somebody else during the copy",
        hint: "--resume --force replaces it with the copy")
    } catch {
      throw NBDSecureError(
        .io, "\(path): cannot be given its name: \(error)", underlying: error)
    }
  }
}
