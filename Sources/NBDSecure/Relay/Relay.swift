// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import Synchronization
import SystemPackage

/// Carries requests from the plain side (the kernel's socket, or a local client's) to the server
/// and replies back, for one connection.
///
/// It knows requests: what is in flight, and what the server acknowledged but has not flushed, so
/// that after a lost connection both can be sent again. One thread at a time calls it; `stop` alone
/// may be called from anywhere. The data path allocates nothing.
@safe
final class Relay: @unchecked Sendable {
  /// Why `run` returned.
  enum Outcome: Sendable {
    /// The plain side sent NBD_CMD_DISC, and it was passed on; or it was kept back, and everything
    /// before it was answered.
    case disconnected
    /// The plain side ended without NBD_CMD_DISC: the kernel or the client gave up.
    case plainClosed(String)
    /// The server is gone, silent, or broke the protocol.
    case lost(LinkLost)
    /// `stop` was called.
    case stopped
    /// Nothing is in flight any more, since `drain` was called or the connection is worn out.
    case drained
  }

  /// What the relay is told of the export and of the user's wishes.
  struct Settings: Sendable {
    var exportSize: UInt64
    var flags: ExportFlags
    /// Longest request that is passed on, bytes.
    var maximumRequest: UInt32
    /// A request unanswered for so long means that the server is lost; nanoseconds.
    var ioTimeout: UInt64
    /// A connection that is worn out can be replaced.
    var renewsConnections = true
    /// Acknowledged but unflushed bytes that are kept for a replay; 0 keeps none.
    var flushWindow: Int
    /// NBD_CMD_DISC of the plain side ends the plain side alone: the connection is for the next.
    var keepsConnection = false
  }

  let settings: Settings
  let clock: RelayClock
  var inFlight = InFlight(capacity: Limits.requestsInFlight)
  var journal = Journal(capacity: Limits.journalEntries)
  var ring: MirroredRing
  let replies: UnsafeMutableRawBufferPointer
  var channel: (any Channel)?
  /// The plain side's socket, non-blocking; owned.
  var plain: Int32 = -1
  let wake: EventSignal
  let poll: RelayPoll
  /// One request header that is not in the ring.
  let scratch: UnsafeMutableRawBufferPointer
  private let stopRequested = Atomic<Bool>(false)
  private let flushRequested = Atomic<Bool>(false)
  /// Called on the relay's thread when a FLUSH of its own was answered.
  var flushAnswered: (@Sendable () -> Void)?
  private let drainRequested = Atomic<Bool>(false)

  // The request side: positions in the stream of bytes that the ring holds.
  /// Everything before it was read from the plain side.
  var head: UInt64 = 0
  /// Everything before it was recognised as requests.
  var parsed: UInt64 = 0
  /// Everything before it was given to the channel.
  var sent: UInt64 = 0
  /// Payload bytes of the current WRITE not yet recognised.
  var payloadLeft: UInt64 = 0
  /// The WRITE whose payload is arriving; −1 when none.
  var incoming: Int32 = -1
  /// The current payload belongs to a request that was refused: it is dropped.
  var discarding = false
  /// The next request cannot be taken until something is answered.
  var stalled = false
  /// A FLUSH of our own is needed to let go of journal entries, or is on its way.
  var flushWanted = false
  var flushInFlight = false
  /// `requestFlush` was called, and no FLUSH of our own was sent since.
  var flushAsked = false
  /// NBD_CMD_DISC was read.
  var disconnecting = false
  /// The next request to send again after a reconnection; −1 when none.
  var resend: Int32 = -1
  /// The slot whose half-delivered reply is finished alone; −1 when none.
  var finishing: Int32 = -1
  /// How much of the request being sent again was given to the channel.
  var resendSent = 0

  // The reply side: the reply buffer, and what of it goes to the plain side.
  var filled = 0
  var scanned = 0
  var outgoing = Outgoing()
  /// The READ whose data is arriving; −1 between replies.
  var reading: Int32 = -1
  var dataLeft = 0
  /// Bytes of the current reply that the plain side had before and must not get twice.
  var skip = 0
  /// Where in the stream to the plain side the current reply began.
  var replyStart: UInt64 = 0
  var plainBlocked = false
  /// When the plain side last took replies again: until then nobody listened to the server.
  var unblockedAt: UInt64 = 0

  /// How many lost writes the plain side has been told of.
  var lostWritesTold: UInt64 = 0
  /// Where the refused requests at the end of what was recognised begin; nil when there are none.
  var refusedFrom: UInt64?
  /// No request is taken any more: the connection is to be replaced.
  var isDraining = false
  /// Every request is refused: there has been no server for too long.
  var refusing = false

  /// The server has answered something since the last reconnection.
  var hasAnswered = false

  var counters = RelayCounters()
  /// Where the times of requests are counted; nil where nobody asks for them.
  var latency: LatencyCounters?
  /// When this round began: as good as now for a reply, and needs no further look at the clock.
  var roundBegan: UInt64 = 0

  /// - Parameters:
  ///   - settings: see `Settings`.
  ///   - clock: shared by the relays of one attachment.
  /// - Throws: `Errno` when memory or a descriptor cannot be had.
  init(settings: Settings, clock: RelayClock) throws(Errno) {
    self.settings = settings
    self.clock = clock
    let window = settings.flushWindow + Limits.inFlightBytes
    ring = try MirroredRing(
      capacity: Limits.roundedUp(window), mirrored: Limits.mirrored)
    wake = try EventSignal()
    unsafe replies = .allocate(byteCount: Limits.replyBuffer, alignment: 4096)
    unsafe scratch = .allocate(byteCount: Request.size, alignment: 8)
    poll = RelayPoll(wake: wake.descriptor.raw)
    lostWritesTold = clock.lostWrites
    unsafe replies.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit {
    unsafe replies.deallocate()
    unsafe scratch.deallocate()
    if plain >= 0 { _ = Descriptor(owning: plain) }
  }

  /// Takes no further requests, and makes `run` return `.drained` when all are answered; from any
  /// thread.
  func drain() {
    drainRequested.store(true, ordering: .releasing)
    wake.signal()
  }

  /// Makes `run` return `.stopped` soon; from any thread.
  func stop() {
    stopRequested.store(true, ordering: .releasing)
    wake.signal()
  }

  /// Makes the relay send a FLUSH of its own; from any thread.
  func requestFlush() {
    flushRequested.store(true, ordering: .releasing)
    wake.signal()
  }

  var isStopRequested: Bool { stopRequested.load(ordering: .acquiring) }

  /// Forgets an earlier `stop`; before `run`.
  func prepare() {
    stopRequested.store(false, ordering: .releasing)
    drainRequested.store(false, ordering: .releasing)
    isDraining = false
    _ = wake.drain()
  }

  /// Relays until something ends it.
  func run() -> Outcome {
    do throws(RelayStop) {
      while true { try turn() }
    } catch {
      return error.outcome
    }
  }

  /// One round: everything that can be moved without waiting is moved, then poll(2).
  private func turn() throws(RelayStop) {
    guard let channel else { throw .stopped }
    if !isDraining { isDraining = settings.renewsConnections && channel.isWornOut }
    let now = monotonicNanoseconds()
    roundBegan = now
    if flushRequested.exchange(false, ordering: .acquiringAndReleasing) { flushAsked = true }
    try sendRequests(over: channel, now: now)
    // Each reply wakes whoever waits for it, on this CPU as often as not: with more to send they can
    // wait, and are passed on together.
    var reads = 1
    while plainReadable, reads < Limits.readsAtOnce, wantsRequests(channel) {
      roundBegan = monotonicNanoseconds()
      try sendRequests(over: channel, now: roundBegan)
      reads += 1
    }
    try receiveReplies(from: channel)
    // A reply may have made room, or ended what others had to wait for.
    if stalled || flushAsked || !hasRoom || (resend >= 0 && finishing < 0) {
      let before = counters.requests &+ counters.refused
      try sendRequests(over: channel, now: now)
      try deliver()
      // What made room for some may make room for more, and nothing would wake us for it.
      if stalled, counters.requests &+ counters.refused != before { return }
    }
    if disconnecting, sent == parsed, channel.pendingOutput == 0,
      !settings.keepsConnection || (inFlight.isEmpty && outgoing.isEmpty)
    {
      throw .disconnected
    }
    if isDraining, inFlight.isEmpty, payloadLeft == 0, sent == parsed, outgoing.isEmpty {
      throw .drained
    }

    poll.watch(.plain, plain, read: wantsRequests(channel), write: plainBlocked)
    poll.watch(
      .channel, channel.rawDescriptor, read: filled < Limits.replyBuffer && !plainBlocked,
      write: channel.pendingOutput > 0)
    let pending = channel.hasBufferedInput && filled < Limits.replyBuffer && !plainBlocked
    let wait = pending ? 0 : try millisecondsToWait(now: now)
    if let errno = poll.wait(milliseconds: wait) {
      throw .lost(LinkLost(reason: "poll failed: \(errno)"))
    }
    if poll.isReadable(.wake) {
      _ = wake.drain()
      if isStopRequested { throw .stopped }
      if drainRequested.load(ordering: .acquiring) { isDraining = true }
    }
    plainReadable = poll.isReadable(.plain)
    if plainBlocked, poll.isWritable(.plain) {
      plainBlocked = false
      unblockedAt = monotonicNanoseconds()
    }
    channelReadable = pending || poll.isReadable(.channel)
  }

  /// What the last poll said; and of the plain side, whether the last read took all that it asked for.
  var plainReadable = false
  var channelReadable = false

  /// How long poll may wait before the oldest request is overdue; −1 without end.
  private func millisecondsToWait(now: UInt64) throws(RelayStop) -> Int32 {
    let oldest = inFlight.oldest
    // While the plain side does not take replies, the server is not to blame.
    // Nor for a request whose payload has not come yet.
    guard oldest >= 0, oldest != incoming, !plainBlocked else { return -1 }
    let due = max(inFlight[oldest].sentAt, unblockedAt) &+ settings.ioTimeout
    guard due > now else {
      throw .lost(LinkLost(reason: "no reply within \(settings.ioTimeout / 1_000_000_000) s"))
    }
    return Int32(clamping: (due - now) / 1_000_000 + 1)
  }
}

/// The one error of the relay's parts: it ends `run`.
struct RelayStop: Error {
  let outcome: Relay.Outcome

  static var stopped: RelayStop { RelayStop(outcome: .stopped) }
  static var drained: RelayStop { RelayStop(outcome: .drained) }
  static var disconnected: RelayStop { RelayStop(outcome: .disconnected) }
  static func lost(_ link: LinkLost) -> RelayStop { RelayStop(outcome: .lost(link)) }
  static func plainClosed(_ why: String) -> RelayStop { RelayStop(outcome: .plainClosed(why)) }
  static func brokeProtocol(_ what: String) -> RelayStop {
    RelayStop(outcome: .lost(LinkLost(reason: what, brokeProtocol: true)))
  }
}
