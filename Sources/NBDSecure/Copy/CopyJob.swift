// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage

/// The coordinator of one copy: starts the lanes, records what is done, tells of the progress, and
/// brings the result to stable storage.
final class CopyJob {
  /// Enough for GnuTLS, which has large local buffers.
  private static let stackSize = 1 << 20
  private static let progressInterval = 0.2

  private let request: CopyRequest
  private let connections: [Connection]
  private let export: Export
  private let file: LocalFile
  private let whole: Range<UInt64>
  private let plan: CopyPlan
  private let settings: CopyLane.Settings
  private let resumed: UInt64
  private var record: CopyRecord?
  private let warn: (String) -> Void
  private var meter: CopyMeter

  /// - Parameters:
  ///   - length: bytes to copy, from the beginning.
  ///   - done: what an earlier copy has done.
  ///   - record: where to record what is done, so that a later copy can go on; nil where none could.
  init(
    _ request: CopyRequest, _ connections: [Connection], _ export: Export, _ file: LocalFile,
    length: UInt64, done: ByteRanges, record: (state: CopyState, path: String)?,
    warn: @escaping (String) -> Void, progress: (@Sendable (CopyProgress) -> Void)?
  ) throws(NBDSecureError) {
    self.request = request
    self.connections = connections
    self.export = export
    self.file = file
    self.warn = warn
    let whole = 0..<length
    self.whole = whole
    resumed = done.total
    self.record = record.map { CopyRecord(state: $0.state, path: $0.path) }
    let isStream = file.kind == .stream
    meter = CopyMeter(
      total: isStream && request.direction == .upload ? nil : length, done: resumed, tell: progress)
    let sizes = export.blockSizes ?? .assumed
    let alignment = max(4096, UInt64(sizes.minimum))
    // A server may take less than a page at a time.
    let unit = UInt64(sizes.maximum) >= alignment ? alignment : UInt64(sizes.minimum)
    let piece = min(CopyLimits.piece, UInt64(sizes.maximum) / unit * unit)
    let writesZeroes = export.flags.contains(.sendWriteZeroes)
    let asZeroes = request.direction == .download || writesZeroes
    settings = CopyLane.Settings(
      direction: request.direction, server: request.connection.endpoint.server,
      slots: request.requests, piece: Int(piece), writesZeroes: writesZeroes,
      ioTimeout: UInt64(request.ioTimeout * 1e9), allowShorter: request.allowShorter,
      block: export.lastBlock)
    let map: CopyPlan.Map =
      switch request.direction {
      case .download where connections[0].agreement.contexts.isEmpty: .none
      case .download: .server
      case .upload: isStream ? .none : .file(file)
      }
    let planSettings = CopyPlan.Settings(
      piece: piece, zeroPiece: asZeroes ? CopyLimits.zeroPiece : piece, alignment: alignment)
    plan = try system("copy") { () throws(Errno) in
      try CopyPlan(whole, done: done, map: map, settings: planSettings, lanes: connections.count)
    }
  }

  /// Copies, makes durable, verifies.
  func run(since start: UInt64) throws(NBDSecureError) -> CopyReport {
    let lanes = connections.enumerated().map { number, connection in
      CopyLane(
        number: number, connection: connection, plan: plan, file: file, settings: settings)
    }
    var threads = CopyThreads()
    do {
      try beginRecord()
      for lane in lanes {
        try system("start a thread") { () throws(Errno) in
          try threads.start(name: "copy-\(lane.number)", stackSize: Self.stackSize) { lane.run() }
        }
      }
      try waitForPass()
      if file.kind == .stream, request.direction == .upload { try expectEnd() }
      try makeDurable()
      if request.verify { try verify() }
    } catch {
      plan.fail(error)
      threads.join()
      for connection in connections { connection.channel.cut() }
      throw explained(error)
    }
    plan.quit()
    threads.join()
    for connection in connections { connection.sayGoodbye() }
    return CopyReport(
      size: plan.isVerifying ? whole.upperBound : plan.doneBytes, resumed: resumed,
      seconds: Double(monotonicNanoseconds() - start) / 1e9, connections: connections.count,
      verified: request.verify)
  }

  /// The side file is there from the beginning, so that what stops the copy later need not do it.
  private func beginRecord() throws(NBDSecureError) {
    do { try record?.write(plan.done) } catch {
      // A source's directory may well be one that we cannot write to.
      if request.direction == .download || request.resume { throw error }
      record = nil
    }
  }

  /// Waits until the pass is over; meanwhile tells of the progress and records what is done.
  private func waitForPass() throws(NBDSecureError) {
    var nextRecord = Deadline.after(seconds: CopyLimits.checkpointInterval)
    while try !plan.isOver() {
      try waitForChange()
      meter.update(plan.doneBytes)
      if plan.isVerifying { continue }
      if let flushed = plan.takeFlushed() { try record?.write(flushed) }
      if nextRecord.hasPassed, record != nil {
        try checkpoint()
        nextRecord = .after(seconds: CopyLimits.checkpointInterval)
      }
    }
  }

  private func waitForChange() throws(NBDSecureError) {
    // Nothing that changed is missed: the plan is asked after the signal was taken.
    try? plan.changed.event.wait(until: .after(seconds: Self.progressInterval))
    plan.changed.event.drain()
  }

  /// Records what is done, as soon as it is on stable storage.
  private func checkpoint() throws(NBDSecureError) {
    switch request.direction {
    case .upload:
      if export.flags.contains(.sendFlush) { plan.requestFlush() }
    case .download:
      let done = plan.done
      try file.sync()
      try record?.write(done)
    }
  }

  private func expectEnd() throws(NBDSecureError) {
    guard plan.doneBytes == export.size else { return }
    try file.expectEnd()
  }

  /// All that was copied is on stable storage, here or at the server.
  private func makeDurable() throws(NBDSecureError) {
    meter.enter(.flushing)
    guard request.direction == .upload else { return try file.sync() }
    guard export.flags.contains(.sendFlush) else {
      return warn("the server has no FLUSH: it does not tell when the copy is on stable storage")
    }
    while plan.isFlushing { try step() }
    _ = plan.takeFlushed()
    plan.requestFlush()
    while true {
      try step()
      if let flushed = plan.takeFlushed() {
        try record?.write(flushed)
        return
      }
    }
  }

  private func step() throws(NBDSecureError) {
    try waitForChange()
    _ = try plan.isOver()
  }

  /// Reads both sides again, and compares.
  private func verify() throws(NBDSecureError) {
    file.forgetCache()
    meter.enter(.verifying)
    plan.verify(whole)
    try waitForPass()
    guard let offset = plan.difference else { return }
    // What is recorded as done is not to be believed.
    record?.remove()
    record = nil
    throw NBDSecureError(
      .io,
      "\(file.name): differs from \(request.connection.endpoint) at offset \(offset)",
      hint: "the copy is wrong, or the source was written to while it was being copied")
  }

  /// Adds how to go on to an error that interrupted the copy.
  private func explained(_ error: NBDSecureError) -> NBDSecureError {
    guard error.hint == nil, error.code == .io, record != nil else { return error }
    if request.direction == .download, (try? file.sync()) != nil {
      try? record?.write(plan.done)
    }
    return NBDSecureError(
      error.code, error.summary, hint: "--resume goes on where this copy was interrupted",
      underlying: error.underlying)
  }
}

extension Connection {
  /// NBD_CMD_DISC, and an orderly end.
  fileprivate func sayGoodbye() { part() }
}
