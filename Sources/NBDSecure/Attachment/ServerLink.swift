// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage

/// How the link to the server is.
enum LinkState: Equatable {
  case connected
  /// Lost, and requests wait.
  case reconnecting
  /// Lost for too long, or for good: requests fail.
  case failed
}

/// Who keeps account of a link, and names it in log lines.
protocol LinkRecord: AnyObject {
  /// What is served: a device, or a socket.
  var subject: String { get }
  /// The server, as the user named it.
  var server: String { get }
  func linkLost(_ why: String)
  func linkFailed()
  /// Notes a failed attempt; whether its reason is another than the last one's.
  func attemptFailed(_ why: String) -> Bool
  /// Notes a new connection; how long there was none, milliseconds.
  func reconnected(_ connection: Connection) -> UInt64
}

/// How long a link waits.
struct LinkPatience {
  /// How long requests wait for a lost server before they fail, seconds; 0: no reconnection.
  var reconnectTimeout: Double
  /// A connection on which nothing moves for so long is lost, seconds.
  var ioTimeout: Double
  /// How long all lanes may take to drain once one has, seconds.
  var drain = ServerLink.drainPatience
  /// How long lanes may take to pass NBD_CMD_DISC on, seconds.
  var leave = ServerLink.leavePatience
}

/// The connections of several lanes to one export, all to one incarnation of the server: they are
/// lost together, made anew together with the same checks, and repeated over together. A lost
/// server is a pause.
///
/// One thread calls it. The plain sides of the lanes are the owner's concern.
final class ServerLink {
  private let connector: Connector
  private let export: Export
  private let patience: LinkPatience
  private let record: any LinkRecord
  private let log: EventLog
  private let dialer: Dialer

  /// Those with a connection each.
  var lanes: [Lane]
  /// Those without one, and without a plain side. What they have acknowledged and the server has
  /// not flushed is repeated like the others'.
  var resting: [Lane] = []
  private(set) var state = LinkState.connected
  /// How often the link was lost.
  private(set) var losses = 0

  fileprivate static let drainPatience = 5.0
  fileprivate static let leavePatience = 2.0

  /// By when all lanes must be drained.
  private var drainBy = Deadline.never
  /// How many lanes are drained.
  private var drained = 0

  private var backoff = Backoff()
  /// When the next attempt is due; `.never` while one runs or none is wanted.
  private var nextAttempt = Deadline.never
  /// When requests fail because the server has been gone for too long.
  private var giveUp = Deadline.never
  private var outage = Outage()
  /// Connections that wait for the repetition of unflushed writes.
  private var pending: [Connection] = []
  /// Called where lanes with a dead plain side can get another; those lanes are parked, or the
  /// owner parks them.
  private let renewPlainSides: (ServerLink) -> Void

  init(
    lanes: [Lane], connector: Connector, export: Export, patience: LinkPatience,
    record: any LinkRecord, log: EventLog, renewPlainSides: @escaping (ServerLink) -> Void
  ) throws(NBDSecureError) {
    self.lanes = lanes
    self.connector = connector
    self.export = export
    self.patience = patience
    self.record = record
    self.log = log
    self.renewPlainSides = renewPlainSides
    dialer = try system("make an event descriptor") { () throws(Errno) in try Dialer() }
  }

  /// Readable when `step` has something to do.
  var eventDescriptor: Int32 { dialer.done.descriptor.raw }

  /// Unflushed writes are being repeated: the relays belong to the dialer.
  var isRepeating: Bool { !pending.isEmpty }

  /// When `step` has something to do at the latest.
  var deadline: Deadline { min(nextAttempt, giveUp, drainBy) }

  /// Starts the lanes.
  func start() { for lane in lanes { lane.run() } }

  /// Does what is due.
  func step() {
    if let outcome = dialer.takeOutcome() { handle(outcome) }
    if nextAttempt.hasPassed { attempt() }
    if giveUp.hasPassed { failRequests() }
    if drainBy.hasPassed { renew() }
  }

  /// The server, or the other end of a lane's plain side, is gone: park everything and begin again.
  func lose(_ why: String, plainDied: Bool) {
    guard state == .connected else {
      // While writes are being repeated the relays belong to the dialer; what comes after renews.
      guard !isRepeating else { return }
      // A lane that refuses requests lost its plain side: it refuses on a fresh one.
      if plainDied {
        renewPlainSides(self)
        if state == .failed { refuseOnAllLanes() }
      }
      return
    }
    losses += 1
    drained = 0
    drainBy = .never
    for lane in lanes { lane.park() }
    let hasAnswered = lanes.contains(where: \.relay.hasAnswered)
    let isAwaited = !lanes.allSatisfy(\.relay.inFlight.isEmpty)
    for lane in lanes {
      lane.relay.hasAnswered = false
      lane.relay.settleUnfinishedReply()
      // The old connection is shut down before anything is repeated on a new one.
      lane.relay.channel?.cut()
      lane.relay.channel = nil
    }
    record.linkLost(why)
    if patience.reconnectTimeout == 0 {
      log.write(
        .error, "\(record.subject): lost \(record.server): \(why); I/O fails from now on")
      enterFailed()
      return
    }
    log.write(.warning, "\(record.subject): lost \(record.server): \(why); reconnecting")
    state = .reconnecting
    giveUp = outage.begin(
      hasAnswered: hasAnswered, isAwaited: isAwaited, timeout: patience.reconnectTimeout)
    if plainDied { renewPlainSides(self) }
    backoff.reset()
    scheduleAttempt()
  }

  /// Some lanes are drained, and wait for the others.
  var isDraining: Bool { drained > 0 }

  /// A lane has nothing in flight any more, because its connection is worn out or it was told to.
  ///
  /// A server that is alive may still carry out what it was sent: all lanes are drained before the
  /// connections are replaced.
  func laneDrained() {
    guard state == .connected else { return }
    drained += 1
    guard drained >= lanes.count else {
      if drained == 1 { drainBy = .after(seconds: patience.drain) }
      for lane in lanes { lane.relay.drain() }
      return
    }
    renew()
  }

  private func renew() {
    lose("renewing the connection before its keys are worn out", plainDied: false)
  }

  /// Ends everything when the plain side is at its end: the kernel sends NBD_CMD_DISC on one connection
  /// after another, and where there is a server, each lane has the time to pass its own on.
  func leave() {
    if state == .connected {
      let deadline = Deadline.after(seconds: patience.leave)
      for lane in lanes { lane.awaitParked(by: deadline) }
    }
    end()
  }

  /// Ends everything: the lanes' threads, and the connections in an orderly way.
  func end() {
    for lane in lanes { lane.park() }
    let deadline = Deadline.after(seconds: 2)
    for lane in lanes {
      lane.relay.channel?.close(by: deadline)
      lane.relay.channel = nil
    }
    for lane in lanes + resting { lane.quit() }
    for connection in pending { connection.channel.cut() }
  }

  // MARK: Connecting again

  private func scheduleAttempt() {
    nextAttempt = .after(seconds: backoff.next())
  }

  /// Connects again, on the dialer's thread.
  private func attempt() {
    nextAttempt = .never
    guard state != .connected, !dialer.isBusy else { return }
    dialer.connect(connector, goal: .attach(export.name), count: lanes.count)
  }

  private func handle(_ outcome: Dialer.Outcome) {
    switch outcome {
    case .connected(let connections): accept(connections)
    case .failed(let error): attemptFailed(error.summary)
    case .repeatFailed(let lost):
      drop(&pending)
      // They were parked for the repetition, and go on refusing.
      if state == .failed { refuseOnAllLanes() }
      attemptFailed(lost.reason)
    case .repeated(let writes, let failed): resume(repeated: writes, failed: failed)
    }
  }

  private func attemptFailed(_ why: String) {
    let isNews = record.attemptFailed(why)
    if isNews { log.write(.warning, "\(record.subject): cannot reconnect: \(why)") }
    // The time ran out while the writes were being repeated.
    if giveUp.hasPassed { failRequests() }
    scheduleAttempt()
  }

  /// New connections: the same export? Then the unflushed writes are repeated first.
  private func accept(_ connections: [Connection]) {
    var connections = connections
    // First what is wrong with the server, then what comes of it: without CAN_MULTI_CONN it gets one.
    if let difference = connections.first?.export.flatMap({ export.difference(to: $0) }) {
      drop(&connections)
      return attemptFailed("the server's export is not the same: \(difference)")
    }
    guard connections.count == lanes.count else {
      drop(&connections)
      return attemptFailed("the server no longer allows \(lanes.count) connections")
    }
    for lane in lanes { lane.park() }
    pending = connections
    dialer.repeatWrites(
      of: (lanes + resting).map(\.relay), over: connections[0].channel,
      idleTimeout: patience.ioTimeout)
  }

  private func drop(_ connections: inout [Connection]) {
    for connection in connections { connection.channel.cut() }
    connections = []
  }

  private func resume(repeated: Int, failed: Int) {
    renewPlainSides(self)
    let now = monotonicNanoseconds()
    for (lane, connection) in zip(lanes, pending) {
      lane.relay.channel = connection.channel
      lane.relay.beginResend(now: now)
      lane.run()
    }
    let pause = record.reconnected(pending[0])
    pending = []
    state = .connected
    giveUp = .never
    nextAttempt = .never
    backoff.reset()
    log.write(
      .notice,
      "\(record.subject): reconnected to \(record.server) after \(pause) ms"
        + (repeated > 0 ? ", \(repeated) unflushed writes repeated" : ""))
    if failed > 0 {
      log.write(
        .error,
        "\(record.subject): the server refused \(failed) of \(repeated) writes that it had "
          + "acknowledged and lost: the next flush fails")
    }
  }

  // MARK: Giving up

  /// The server has been gone for too long: what waits fails, and what comes, until it is back.
  private func failRequests() {
    guard state == .reconnecting else {
      giveUp = .never
      return
    }
    // The end of the repetition comes back here.
    guard !isRepeating else {
      for connection in pending { connection.channel.cut() }
      giveUp = .after(seconds: 1)
      return
    }
    log.write(
      .error,
      "\(record.subject): gave up waiting for \(record.server) after "
        + "\(Int(patience.reconnectTimeout)) s: I/O fails until it is back")
    enterFailed()
  }

  private func enterFailed() {
    state = .failed
    giveUp = .never
    record.linkFailed()
    renewPlainSides(self)
    refuseOnAllLanes()
  }

  private func refuseOnAllLanes() {
    for lane in lanes {
      lane.park()
      lane.refuse()
    }
  }
}
