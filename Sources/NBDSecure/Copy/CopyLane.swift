// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage

/// One connection of a copy and the thread that serves it: takes tasks from the plan, keeps several
/// requests in flight, and moves data between them and the local file.
///
/// One thread at a time. Memory is bounded by the slots, whatever the server sends.
@safe
final class CopyLane: @unchecked Sendable {
  struct Settings: Sendable {
    var direction: CopyRequest.Direction
    /// As messages name it.
    var server: String
    var slots: Int
    /// Longest data task, bytes.
    var piece: Int
    /// Whether the server takes NBD_CMD_WRITE_ZEROES.
    var writesZeroes: Bool
    /// Nanoseconds of silence after which the server counts as lost.
    var ioTimeout: UInt64
    /// Whether a source that ends early is enough, and what block its last bytes fill.
    var allowShorter: Bool
    var block: UInt64
  }

  /// What a slot's task waits for.
  struct Slot {
    var range: Range<UInt64> = 0..<0
    /// Requests not answered.
    var pending = 0
  }

  /// A request on its way.
  struct InFlight {
    var request: Request
    /// −1 for a request without data.
    var slot: Int
  }

  /// Bytes in front of a slot's data, where the header of a WRITE goes: page-aligned data behind.
  static let headroom = 4096

  let number: Int
  let plan: CopyPlan
  let file: LocalFile
  let settings: Settings
  let channel: any Channel
  var replies: ReplyStream
  var slots: [Slot]
  var freeSlots: [Int]
  var requests: [UInt64: InFlight] = [:]
  let outgoing = OutgoingRequests()
  var nextCookie: UInt64 = 1
  /// Answers to the block status that is in flight.
  var extents: [Extent]?
  /// Streams: what goes out in which order, and the slot that is being filled.
  var ordered: [OrderedPiece] = []
  var filling: (slot: Int, count: Int)?
  /// What has been received of the current reply's step.
  var control: [UInt8] = []
  var dataGot = 0
  var quits = false
  var poll = PollSet(count: 3)
  private var quietSince = monotonicNanoseconds()
  private let memory: UnsafeMutableRawBufferPointer
  /// For what is neither sent nor kept: input in small pieces, the other side of a comparison.
  let scratch: UnsafeMutableRawBufferPointer

  init(
    number: Int, connection: Connection, plan: CopyPlan, file: LocalFile, settings: Settings
  ) {
    self.number = number
    self.plan = plan
    self.file = file
    self.settings = settings
    channel = connection.channel
    replies = ReplyStream(connection.agreement)
    slots = Array(repeating: Slot(), count: settings.slots)
    freeSlots = Array(0..<settings.slots)
    unsafe memory = .allocate(
      byteCount: settings.slots * (Self.headroom + settings.piece), alignment: 4096)
    unsafe scratch = .allocate(byteCount: max(settings.piece, 64 << 10), alignment: 4096)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
    unsafe scratch.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit {
    unsafe memory.deallocate()
    unsafe scratch.deallocate()
  }

  /// A slot's data; a header fits in front of it.
  func data(of slot: Int) -> UnsafeMutableRawBufferPointer {
    let start = slot * (Self.headroom + settings.piece) + Self.headroom
    return unsafe UnsafeMutableRawBufferPointer(
      rebasing: memory[start..<(start + settings.piece)])
  }

  /// The data of a slot's range.
  func content(of slot: Int) -> UnsafeMutableRawBufferPointer {
    let range = slots[slot].range
    return unsafe UnsafeMutableRawBufferPointer(
      rebasing: data(of: slot)[..<Int(range.upperBound - range.lowerBound)])
  }

  /// Works until the plan has nothing any more, or something fails: the plan is told.
  func run() {
    do throws(NBDSecureError) {
      while true {
        try takeTasks()
        try send()
        let more = try receive()
        if quits { return }
        if !more { try wait() }
      }
    } catch {
      plan.fail(error)
    }
  }

  /// Takes tasks as long as there is room for them.
  private func takeTasks() throws(NBDSecureError) {
    // Also without room: another lane may have failed while the server is silent here.
    if plan.isStopped {
      quits = true
      return
    }
    while filling == nil, !freeSlots.isEmpty, outgoing.count < 2 * settings.slots {
      switch plan.next() {
      case .wait: return
      case .quit:
        quits = true
        return
      case .flush: ask(Request(.flush, cookie: takeCookie()), slot: -1)
      case .status(let range):
        let length = UInt32(clamping: range.upperBound - range.lowerBound)
        ask(
          Request(.blockStatus, cookie: takeCookie(), offset: range.lowerBound, length: length),
          slot: -1)
      case .data(let range): try begin(range)
      case .zeroes(let range): try beginZeroes(range)
      }
      // Reading the local side takes time in which the server should have work.
      if settings.direction == .upload { try send() }
    }
  }

  func takeCookie() -> UInt64 {
    defer { nextCookie &+= 1 }
    return nextCookie
  }

  /// Queues a request without payload.
  func ask(_ request: Request, slot: Int) {
    requests[request.cookie] = InFlight(request: request, slot: slot)
    replies.expect(request)
    outgoing.append(request)
  }

  /// Queues a WRITE. The bytes in front of the payload, as many as a header has, are overwritten.
  func write(_ request: Request, slot: Int, payload: UnsafeMutableRawBufferPointer) {
    requests[request.cookie] = InFlight(request: request, slot: slot)
    replies.expect(request)
    unsafe outgoing.append(request, payload: payload)
  }

  /// Gives the channel what it takes.
  private func send() throws(NBDSecureError) {
    do throws(LinkLost) {
      while let bytes = unsafe outgoing.next {
        let taken = unsafe try channel.send(bytes)
        outgoing.wrote(taken)
        if taken > 0 { madeProgress() }
        if taken == 0, try !channel.flush() { return }
      }
      _ = try channel.flush()
    } catch { throw lost(error) }
  }

  func madeProgress() { quietSince = monotonicNanoseconds() }

  /// Waits until there is something to do.
  private func wait() throws(NBDSecureError) {
    let busy = !requests.isEmpty || channel.pendingOutput > 0
    let sends = channel.pendingOutput > 0 || !outgoing.isEmpty
    poll.set(0, channel.rawDescriptor, sends ? [.read, .write] : .read)
    poll.set(1, plan.lanes[number].event.descriptor.raw, .read)
    poll.set(2, filling == nil ? -1 : file.descriptor, .read)
    if !busy { madeProgress() }
    let deadline = Deadline(nanoseconds: quietSince &+ settings.ioTimeout)
    do throws(Errno) {
      // A part of a record that is buffered says nothing of when the rest will come.
      _ = try poll.wait(until: busy ? deadline : .never)
    } catch {
      throw NBDSecureError(.other, "poll failed: \(error)", underlying: error)
    }
    if !poll.found(1).isEmpty { plan.lanes[number].event.drain() }
    if !poll.found(2).isEmpty { try fill() }
    if busy, deadline.hasPassed, poll.found(0).isEmpty {
      throw lost(LinkLost(reason: "no reply within \(settings.ioTimeout / 1_000_000_000) s"))
    }
  }

  func lost(_ link: LinkLost) -> NBDSecureError {
    NBDSecureError(
      link.brokeProtocol ? .protocolViolation : .io,
      "\(settings.server): \(link.brokeProtocol ? "" : "connection lost: ")\(link.reason)")
  }
}
