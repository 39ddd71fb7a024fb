// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import Synchronization
import SystemPackage

/// What is left to do, shared by the lanes of a copy: it hands out tasks in the order of the
/// export's bytes, and remembers what is done.
final class CopyPlan: Sendable {
  /// What a lane does next.
  enum Task: Sendable, Hashable {
    /// Move, or compare, these bytes.
    case data(Range<UInt64>)
    /// Make these bytes zero on the other side.
    case zeroes(Range<UInt64>)
    /// Ask for the block status of these bytes.
    case status(Range<UInt64>)
    /// Send NBD_CMD_FLUSH.
    case flush
    /// Nothing now; the lane's signal tells when to ask again.
    case wait
    /// Nothing any more.
    case quit
  }

  /// Where knowledge of holes comes from.
  enum Map: Sendable {
    /// Nowhere: all is data.
    case none
    /// The server's block status.
    case server
    /// The file system.
    case file(LocalFile)
  }

  struct Settings: Sendable {
    /// Longest data task, bytes; a multiple of `alignment`.
    var piece: UInt64
    /// Longest zeroes task, bytes.
    var zeroPiece: UInt64
    /// Where tasks may begin and end, but for the end of the whole.
    var alignment: UInt64
  }

  enum Flush { case none, wanted, sent, done }

  struct State {
    /// Not yet known to be data or zeroes, in order.
    var unmapped: ArraySlice<Range<UInt64>> = []
    var mapped = ExtentQueue()
    var map = Map.none
    var statusInFlight = false
    var tasksInFlight = 0
    var done = ByteRanges()
    var flush = Flush.none
    /// What was done when the FLUSH was asked for.
    var beforeFlush = ByteRanges()
    var isVerifying = false
    var difference: UInt64?
    var failure: NBDSecureError?
    var quits = false
  }

  let settings: Settings
  let lanes: [EventSignalBox]
  /// Signalled when a pass, a flush or the whole is over.
  let changed: EventSignalBox
  let state: Mutex<State>

  /// - Parameters:
  ///   - whole: what to copy, in order.
  ///   - done: what an earlier copy has done.
  init(
    _ whole: Range<UInt64>, done: ByteRanges, map: Map, settings: Settings, lanes: Int
  ) throws(Errno) {
    self.settings = settings
    var signals: [EventSignalBox] = []
    for _ in 0..<lanes { signals.append(try EventSignalBox()) }
    self.lanes = signals
    changed = try EventSignalBox()
    var state = State()
    state.unmapped = done.gaps(in: whole)[...]
    state.done = done
    state.map = map
    self.state = Mutex(state)
  }

  /// The next task. A task that was handed out is ended by one of the calls below.
  func next() -> Task {
    state.withLock { state in
      if state.quits || state.failure != nil { return .quit }
      if state.flush == .wanted {
        state.flush = .sent
        return .flush
      }
      if case .server = state.map, !state.statusInFlight, let range = state.unmapped.first,
        state.mapped.bytes < CopyLimits.mappedAhead
      {
        state.statusInFlight = true
        let length = min(range.upperBound - range.lowerBound, CopyLimits.statusPiece)
        return .status(range.lowerBound..<(range.lowerBound + length))
      }
      mapHere(&state)
      guard let task = state.mapped.take(settings) else { return .wait }
      state.tasksInFlight += 1
      return task
    }
  }

  /// Finds out what the next bytes are where no server needs to be asked.
  private func mapHere(_ state: inout State) {
    while state.mapped.isEmpty, let range = state.unmapped.first {
      switch state.map {
      case .server: return
      case .none:
        state.unmapped.removeFirst()
        state.mapped.append(range, isZero: false)
      case .file(let file):
        let (isZero, end) = file.extent(at: range.lowerBound, before: range.upperBound)
        advance(&state, by: [(end - range.lowerBound, isZero)])
      }
    }
  }

  /// Takes runs of data and zeroes over from the front of what is unmapped.
  private func advance(_ state: inout State, by runs: [(length: UInt64, isZero: Bool)]) {
    guard let range = state.unmapped.first else { return }
    var position = range.lowerBound
    for run in runs where position < range.upperBound {
      // Lengths come from a server: no sum of them may overflow.
      let end = position + min(run.length, range.upperBound - position)
      state.mapped.append(position..<end, isZero: run.isZero)
      position = end
    }
    let rest = state.mapped.align(to: settings.alignment, end: range.upperBound)
    state.unmapped.removeFirst()
    if rest < range.upperBound {
      state.unmapped = [rest..<range.upperBound] + state.unmapped
    }
  }

  /// The answer to a status task, from the beginning of its range.
  func mapped(_ extents: [Extent]) {
    state.withLock { state in
      state.statusInFlight = false
      advance(&state, by: extents.map { (UInt64($0.length), $0.isZero) })
    }
    wakeLanes()
  }

  /// The server cannot tell: from here on all is data.
  func cannotMap() {
    state.withLock { state in
      state.statusInFlight = false
      state.map = .none
    }
    wakeLanes()
  }

  /// A data or zeroes task is done.
  func complete(_ range: Range<UInt64>) {
    let isOver = state.withLock { state in
      state.tasksInFlight -= 1
      state.done.insert(range)
      return state.isPassOver
    }
    if isOver { changed.signal() }
  }

  /// A data task found a difference; what lies behind it need not be compared any more.
  func differs(at offset: UInt64) {
    state.withLock { state in
      state.difference = min(state.difference ?? .max, offset)
      state.unmapped = []
      state.mapped = ExtentQueue()
    }
  }

  /// The source ended: what has not been handed out does not exist.
  func endOfSource() {
    state.withLock { state in
      state.unmapped = []
      state.mapped = ExtentQueue()
    }
  }

  /// The FLUSH was answered.
  func flushed() {
    state.withLock { $0.flush = .done }
    changed.signal()
  }

  /// Nothing goes on; the first failure counts.
  func fail(_ failure: NBDSecureError) {
    state.withLock { $0.failure = $0.failure ?? failure }
    changed.signal()
    wakeLanes()
  }

  func wakeLanes() { for lane in lanes { lane.signal() } }
}

extension CopyPlan.State {
  /// Whether nothing is left of the pass, in anybody's hands.
  var isPassOver: Bool {
    unmapped.isEmpty && mapped.isEmpty && tasksInFlight == 0 && !statusInFlight
  }
}

/// An eventfd that may be shared.
final class EventSignalBox: Sendable {
  let event: EventSignal
  init() throws(Errno) { event = try EventSignal() }
  func signal() { event.signal() }
}
