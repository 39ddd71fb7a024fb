// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage

/// Copies between an export and a file, with the same checks as an attachment. Success means that
/// the copy is on stable storage.
public struct Copy: Sendable {
  private let request: CopyRequest
  private let warn: @Sendable (String) -> Void
  private let trace: @Sendable (String) -> Void
  private let progress: (@Sendable (CopyProgress) -> Void)?

  /// - Parameters:
  ///   - request: what to copy, and where.
  ///   - warn: hears what the user should know although it is no error.
  ///   - trace: hears each step of the negotiation; never key material.
  ///   - progress: hears a few times each second how far the copy is.
  public init(
    _ request: CopyRequest, warn: @escaping @Sendable (String) -> Void = { _ in },
    trace: @escaping @Sendable (String) -> Void = { _ in },
    progress: (@Sendable (CopyProgress) -> Void)? = nil
  ) {
    self.request = request
    self.warn = warn
    self.trace = trace
    self.progress = progress
  }

  /// Copies, and returns when the copy is on stable storage and, where asked for, verified.
  ///
  /// - Throws: `NBDSecureError`; `.usage` before anything is written where source and destination do
  ///   not fit, `.io` with a hint where the copy was interrupted and `--resume` can go on.
  public func run() throws(NBDSecureError) -> CopyReport {
    try request.validate()
    let start = monotonicNanoseconds()
    switch request.direction {
    case .download: return try download(since: start)
    case .upload: return try upload(since: start)
    }
  }

  /// Whether an interrupted copy left what `CopyRequest.resume` goes on with.
  public var canBeResumed: Bool {
    let file = request.file
    guard !request.isStandardStream else { return false }
    let path =
      request.direction == .upload ? file : realPath(file) ?? targetOfLinks(file)
    return fileExists(path + CopyState.suffix)
  }

  private func download(since start: UInt64) throws(NBDSecureError) -> CopyReport {
    let destination = try CopyDestination(request)
    let (connections, export) = try connect(streaming: destination.kind == .stream)
    let wanted = state(of: export)
    let (file, done) = try open(destination, for: wanted)
    let job = try CopyJob(
      request, connections, export, file, length: export.size, done: done ?? ByteRanges(),
      record: destination.kind == .file ? (wanted, destination.sideFile) : nil, warn: warn,
      progress: progress)
    let report = try job.run(since: start)
    try destination.finish()
    return report
  }

  /// The destination, and what an interrupted copy has done of it; nil where there was none.
  ///
  /// The unfinished copy is locked before its record is looked at: what another copy is writing is
  /// left alone, and what the record says is true of this very file.
  private func open(
    _ destination: CopyDestination, for wanted: CopyState
  ) throws(NBDSecureError) -> (file: LocalFile, done: ByteRanges?) {
    let size = wanted.exportSize
    guard destination.kind == .file else { return (try destination.open(size: size), nil) }
    let partial = try destination.lockPartial(keeping: request.resume)
    var done: ByteRanges?
    // Killed before it had its length, it was not begun: a record is of another.
    if request.resume, (try? length(of: partial.raw)) == size {
      done = try resumed(destination.sideFile, wanted, 0..<size)
    }
    if request.resume, done == nil {
      warn("\(destination.path): no interrupted copy: copying from the beginning")
    }
    return (try destination.open(partial, size: size, keeping: done != nil), done)
  }

  private func upload(since start: UInt64) throws(NBDSecureError) -> CopyReport {
    let file = try LocalFile.source(request.file)
    if request.resume || request.verify, file.kind == .stream {
      throw usage("\(file.name): --resume and --verify need a file that can be read again")
    }
    let (connections, export) = try connect(streaming: file.kind == .stream)
    if export.flags.contains(.readOnly) {
      throw NBDSecureError(
        .unavailable, "\(request.connection.endpoint): the export is read-only")
    }
    let length = try uploadLength(file, export)
    var wanted = state(of: export)
    wanted.fileSize = file.length
    wanted.fileModified = file.modified
    let sideFile = request.file + CopyState.suffix
    var done: ByteRanges?
    if request.resume {
      guard file.kind == .regular else {
        throw usage("\(file.name): --resume is for regular files")
      }
      done = try resumed(sideFile, wanted, 0..<length)
      if done == nil { warn("\(file.name): no interrupted copy: copying from the beginning") }
    } else if file.kind == .regular {
      try? OwnFile.remove(sideFile)
    }
    let job = try CopyJob(
      request, connections, export, file, length: length, done: done ?? ByteRanges(),
      record: file.kind == .regular ? (wanted, sideFile) : nil, warn: warn, progress: progress)
    let report = try job.run(since: start)
    if file.kind == .regular { try? OwnFile.remove(sideFile) }
    return report
  }

  /// How many bytes of the export an upload writes: whole blocks.
  private func uploadLength(
    _ file: LocalFile, _ export: Export
  ) throws(NBDSecureError) -> UInt64 {
    guard let length = file.length else { return export.size }
    guard length <= export.size else {
      throw usage("\(file.name): has \(length) bytes, and the export only \(export.size)")
    }
    if length == export.size { return length }
    guard request.allowShorter else {
      throw usage(
        "\(file.name): has \(length) bytes, and the export \(export.size)",
        hint: "--allow-shorter copies it to the export's beginning and leaves the rest as it is")
    }
    let block = export.lastBlock
    return min(export.size, (length + block - 1) / block * block)
  }

  /// Opens the connections that the copy uses.
  private func connect(
    streaming: Bool
  ) throws(NBDSecureError) -> (connections: [Connection], export: Export) {
    var connector = Connector(request: request.connection, trace: trace, warn: warn)
    connector.use.readOnly = request.direction == .download
    connector.use.needsToWrite = request.direction == .upload
    if request.direction == .download { connector.extensions = .blockStatus }
    let name: ExportName
    do { name = try ExportName(request.connection.endpoint.export) } catch {
      throw usage("--export: \(error)")
    }
    let connections = try openConnections(connector, goal: .attach(name)) { export in
      count(for: export, streaming: streaming)
    }
    guard let export = connections.first?.export else {
      throw NBDSecureError(.protocolViolation, "\(request.connection.endpoint): no export")
    }
    return (connections, export)
  }

  /// How many connections there are to be.
  private func count(for export: Export, streaming: Bool) -> Int {
    let wanted = request.connections ?? CopyLimits.connections
    var reason: String?
    if streaming {
      reason = "a stream has one beginning"
    } else if !export.flags.contains(.canMultiConn) {
      reason = "the server does not allow several connections to this export"
    }
    if let reason {
      if wanted > 1, request.connections != nil {
        warn("\(reason): using 1 connection instead of \(wanted)")
      }
      return 1
    }
    let pieces = export.size / CopyLimits.piece + 1
    return min(wanted, Int(clamping: pieces))
  }

  private func state(of export: Export) -> CopyState {
    CopyState(
      direction: request.direction, endpoint: "\(request.connection.endpoint)",
      exportSize: export.size, exportFlags: export.flags.rawValue)
  }

  /// What the interrupted copy has done; nil where there was none.
  private func resumed(
    _ path: String, _ wanted: CopyState, _ whole: Range<UInt64>
  ) throws(NBDSecureError) -> ByteRanges? {
    guard let found = try CopyState.read(path) else { return nil }
    let hint = "leave out --resume to copy from the beginning"
    if let difference = found.difference(to: wanted) {
      throw usage("\(path): cannot go on with the interrupted copy: \(difference)", hint: hint)
    }
    guard let done = found.ranges(within: whole) else {
      throw usage("\(path): does not make sense", hint: hint)
    }
    return done
  }
}

extension Export {
  /// What the end of a shorter source is filled up to, bytes: no more of the export is overwritten
  /// than the server's minimum block size forces us to. Servers that name none take any length.
  var lastBlock: UInt64 { UInt64(blockSizes?.minimum ?? 1) }
}
