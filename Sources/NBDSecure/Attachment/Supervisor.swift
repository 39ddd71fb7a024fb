// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDKernel
import NBDProtocol
import SystemPackage

/// The one process behind an attachment with a relay: it owns the lanes, the link to the server,
/// the kernel device and the state file, and lives as long as the device.
///
/// One thread calls it; the lanes and the dialer work on their own threads and report by events.
final class Supervisor {
  /// Why the supervisor ended.
  enum Ending {
    /// The device was detached.
    case detached
    /// The kernel let go of the device without being asked by us.
    case deviceLost(String)
  }

  let request: AttachRequest
  let connector: Connector
  let export: Export
  let plan: DevicePlan
  let binding: any DeviceBinding
  let lanes: [Lane]
  let log: EventLog
  let store: StateStore
  let dialer: Dialer
  private let signals: SignalQueue
  private let laneEvents: LaneEvents
  private let detachment: Detachment

  /// The kernel was told to disconnect.
  private var isDetaching = false

  /// The link to the server.
  var link = LinkState.connected
  var backoff = Backoff()
  /// When the next attempt is due; `.never` while one runs or none is wanted.
  var nextAttempt = Deadline.never
  /// When requests fail because the server has been gone for too long.
  var giveUp = Deadline.never
  /// Connections that wait for the repetition of unflushed writes.
  var pending: [Connection] = []

  /// - Parameter laneEvents: what the lanes report to.
  init(
    request: AttachRequest, connector: Connector, export: Export, plan: DevicePlan,
    binding: any DeviceBinding, lanes: [Lane], laneEvents: LaneEvents, store: StateStore,
    signals: consuming SignalQueue, log: EventLog
  ) throws(NBDSecureError) {
    self.request = request
    self.connector = connector
    self.export = export
    self.plan = plan
    self.binding = binding
    self.lanes = lanes
    self.laneEvents = laneEvents
    self.store = store
    self.signals = signals
    self.log = log
    dialer = try system("make an event descriptor") { () throws(Errno) in try Dialer() }
    detachment = try Detachment()
  }

  /// Starts the lanes.
  func start() { for lane in lanes { lane.run() } }

  /// What the caller of `run` wants after a round.
  enum Round { case goOn, detach }

  /// Serves the device until its end.
  ///
  /// - Parameters:
  ///   - first: one more descriptor whose readability makes a round.
  ///   - second: the same.
  ///   - round: called in each round.
  func run(watching first: Int32, _ second: Int32, each round: () -> Round) -> Ending {
    var poll = PollSet(count: 7)
    poll.set(0, signals.descriptor.raw, .read)
    poll.set(1, laneEvents.signal.descriptor.raw, .read)
    poll.set(2, dialer.done.descriptor.raw, .read)
    poll.set(3, binding.eventDescriptor, .read)
    poll.set(4, detachment.done.descriptor.raw, .read)
    poll.set(5, first, .read)
    poll.set(6, second, .read)
    while true {
      // Without a link nobody reads NBD_CMD_DISC: look now and then whether the device is there.
      let tick = link == .connected ? Deadline.never : .after(seconds: 1)
      _ = try? poll.wait(until: min(nextAttempt, giveUp, tick))
      for place in 5...6 where !poll.found(place).isEmpty { poll.set(place, -1, []) }
      handleSignals()
      if let ending = handleLanes() ?? handleDevice() { return finish(ending) }
      if let outcome = dialer.takeOutcome() { handle(outcome) }
      if let outcome = detachment.takeOutcome() { handle(outcome) }
      if round() == .detach { detachment.begin(binding: binding, flush: false) }
      if nextAttempt.hasPassed { attempt() }
      if giveUp.hasPassed { failRequests() }
    }
  }

  private func handleSignals() {
    while let signal = try? signals.next() {
      switch signal.number {
      case SIGTERM, SIGINT:
        detachment.begin(binding: binding, flush: link == .connected)
      default: break
      }
    }
  }

  private func handle(_ outcome: Detachment.Outcome) {
    switch outcome {
    // A lane sees NBD_CMD_DISC; without a link the device is seen to be gone.
    case .begun: isDetaching = true
    case .inUse(let holders):
      log.write(
        .warning,
        "\(store.device): told to stop, but in use (\(holders.joined(separator: ", "))): "
          + "the device stays")
    case .failed(let why):
      log.write(.error, "\(store.device): told to stop, but cannot detach: \(why)")
    }
  }

  /// The lanes' reports; the ending, where there is one.
  private func handleLanes() -> Ending? {
    _ = laneEvents.signal.drain()
    for lane in lanes {
      switch lane.takeOutcome() {
      case nil, .stopped: break
      case .disconnected: return .detached
      case .plainClosed(let why):
        if !binding.replacesSockets || binding.takeEvents().ended { return .deviceLost(why) }
        loseLink("the kernel gave up: \(why)", plainDied: true)
      case .lost(let lost): loseLink(lost.reason, plainDied: false)
      }
    }
    return nil
  }

  private func handleDevice() -> Ending? {
    let events = binding.takeEvents()
    if events.ended {
      return isDetaching || link != .connected
        ? .detached : .deviceLost("the kernel let go of the device")
    }
    // While the link is lost nobody reads the plain side: requests wait in a fresh socket.
    if events.linkDead, link != .connected { renewDeadSockets() }
    return nil
  }

  private func finish(_ ending: Ending) -> Ending {
    for lane in lanes { lane.park() }
    let deadline = Deadline.after(seconds: 2)
    for lane in lanes {
      lane.relay.channel?.close(by: deadline)
      lane.relay.channel = nil
      lane.quit()
    }
    for connection in pending { connection.channel.cut() }
    switch ending {
    case .detached: log.write(.info, "\(store.device): detached")
    case .deviceLost(let why): log.write(.error, "\(store.device): lost the device: \(why)")
    }
    return ending
  }
}

/// What all lanes report to.
final class LaneEvents: Sendable {
  let signal: EventSignal
  init() throws(Errno) { signal = try EventSignal() }
}
