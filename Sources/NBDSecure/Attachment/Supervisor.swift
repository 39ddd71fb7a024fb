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
  private let link: ServerLink
  private let signals: SignalQueue
  private let laneEvents: LaneEvents
  private let detachment: Detachment

  /// The kernel was told to disconnect.
  private var isDetaching = false

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
    link = try ServerLink(
      lanes: lanes, connector: connector, export: export,
      patience: LinkPatience(
        reconnectTimeout: request.reconnectTimeout, ioTimeout: request.ioTimeout),
      record: store, log: log
    ) { link in Self.renewDeadSockets(of: link, binding: binding, log: log) }
    detachment = try Detachment()
  }

  /// Starts the lanes.
  func start() { link.start() }

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
    poll.set(2, link.eventDescriptor, .read)
    poll.set(3, binding.eventDescriptor, .read)
    poll.set(4, detachment.done.descriptor.raw, .read)
    poll.set(5, first, .read)
    poll.set(6, second, .read)
    while true {
      // Without a link nobody reads NBD_CMD_DISC: look now and then whether the device is there.
      let isIdle = link.state == .connected && !detachment.isUnderWay
      let tick = isIdle ? Deadline.never : .after(seconds: 1)
      _ = try? poll.wait(until: min(link.deadline, tick))
      for place in 5...6 where !poll.found(place).isEmpty { poll.set(place, -1, []) }
      handleSignals()
      detachment.askForTime()
      if let ending = handleLanes() ?? handleDevice() { return finish(ending) }
      link.step()
      if let outcome = detachment.takeOutcome() { handle(outcome) }
      if round() == .detach { detachment.begin(binding: binding, flush: false) }
    }
  }

  private func handleSignals() {
    while let signal = try? signals.next() {
      switch signal.number {
      case SIGTERM, SIGINT:
        detachment.begin(binding: binding, flush: link.state == .connected)
      default: break
      }
    }
  }

  private func handle(_ outcome: Detachment.Outcome) {
    switch outcome {
    // A lane sees NBD_CMD_DISC; without a link the device is seen to be gone.
    case .begun: isDetaching = true
    case .inUse(let holders): detachment.tellThatItStays(store.device, holders, log)
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
        if !binding.replacesSockets || binding.takeEvents().ended { return ending(why) }
        link.lose("the kernel gave up: \(why)", plainDied: true)
      case .lost(let lost): link.lose(lost.reason, plainDied: false)
      case .drained: link.laneDrained()
      }
    }
    return nil
  }

  private func handleDevice() -> Ending? {
    let events = binding.takeEvents()
    if events.ended {
      return link.state != .connected ? .detached : ending("the kernel let go of the device")
    }
    // While the link is lost nobody reads the plain side: requests wait in a fresh socket.
    if events.linkDead, link.state != .connected {
      link.lose("the kernel gave up a socket", plainDied: true)
    }
    return nil
  }

  /// What the end of the device means: it was asked for, or it was not.
  private func ending(_ why: String) -> Ending {
    isDetaching || detachment.isUnderWay ? .detached : .deviceLost(why)
  }

  private func finish(_ ending: Ending) -> Ending {
    link.leave()
    switch ending {
    case .detached: log.write(.info, "\(store.device): detached")
    case .deviceLost(let why): log.write(.error, "\(store.device): lost the device: \(why)")
    }
    return ending
  }

  /// Gives the kernel a fresh socket for each lane whose old one it gave up; it sends again there
  /// what it had sent, and the lane forgets it: one of the two repeats, never both.
  private static func renewDeadSockets(
    of link: ServerLink, binding: any DeviceBinding, log: EventLog
  ) {
    guard binding.replacesSockets else { return }
    var kernelEnds: [Int32] = []
    defer { for end in kernelEnds { _ = Descriptor(owning: end) } }
    for lane in link.lanes where lane.hasDeadPlainSide {
      lane.park()
      do { kernelEnds.append(try lane.relay.makePlainSide()) } catch {
        log.write(.error, "\(binding.device.path): cannot make a socket: \(error)")
      }
    }
    guard !kernelEnds.isEmpty else { return }
    do { try binding.replace(sockets: kernelEnds) } catch {
      log.write(
        .error, "\(binding.device.path): the kernel takes no new socket: \(error.message)")
    }
  }
}

/// What all lanes report to.
final class LaneEvents: Sendable {
  let signal: EventSignal
  init() throws(Errno) { signal = try EventSignal() }
}
