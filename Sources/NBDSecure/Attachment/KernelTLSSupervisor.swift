// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDKernel
import NBDProtocol
import SystemPackage

/// The process behind an attachment whose bytes go through kernel TLS sockets: it is not in the
/// data path, and only connects again when the kernel lost a connection.
///
/// The driver gives up a connection at any TLS control record (a ticket, a key update, an alert),
/// and requeues what was in flight when its own timer expires.
final class KernelTLSSupervisor {
  private let request: AttachRequest
  private let connector: Connector
  private let export: Export
  private let binding: NetlinkDevice
  private let store: StateStore
  private let log: EventLog
  private let signals: SignalQueue
  private let dialer: Dialer
  private let detachment: Detachment
  /// Our copies of the sockets, with which a stuck connection can be ended.
  private var sockets: [Int32]

  private var link = LinkState.connected
  private var backoff = Backoff()
  private var nextAttempt = Deadline.never
  private var giveUp = Deadline.never
  private var outage = Outage()
  private var progress = Progress()
  /// Requests that were completed when the present connections began.
  private var completedBefore: UInt64 = 0

  init(
    request: AttachRequest, connector: Connector, export: Export, binding: NetlinkDevice,
    isAdopted: Bool, sockets: [Int32], store: StateStore, signals: consuming SignalQueue,
    log: EventLog
  ) throws(NBDSecureError) {
    self.request = request
    self.connector = connector
    self.export = export
    self.binding = binding
    self.sockets = sockets
    self.store = store
    self.signals = signals
    self.log = log
    dialer = try system("make an event descriptor") { () throws(Errno) in try Dialer() }
    detachment = try Detachment()
    if isAdopted {
      progress.reconnected(at: monotonicNanoseconds(), timeout: request.ioTimeout)
    }
  }

  deinit { for socket in sockets { _ = Descriptor(owning: socket) } }

  /// Watches the device until its end.
  func run(
    watching first: Int32, _ second: Int32, each round: () -> Supervisor.Round
  ) -> Supervisor.Ending {
    var poll = PollSet(count: 6)
    poll.set(0, signals.descriptor.raw, .read)
    poll.set(1, dialer.done.descriptor.raw, .read)
    poll.set(2, binding.eventDescriptor, .read)
    poll.set(3, detachment.done.descriptor.raw, .read)
    poll.set(4, first, .read)
    poll.set(5, second, .read)
    var isDetaching = false
    while true {
      // The kernel tells of a disconnect to nobody: look for it, and for progress.
      _ = try? poll.wait(until: min(nextAttempt, giveUp, .after(seconds: 1)))
      for place in 4...5 where !poll.found(place).isEmpty { poll.set(place, -1, []) }
      while let signal = try? signals.next() {
        if [SIGTERM, SIGINT].contains(signal.number) {
          detachment.begin(binding: binding, flush: link == .connected)
        }
      }
      detachment.askForTime()
      let events = binding.takeEvents()
      if events.ended {
        log.write(.info, "\(store.device): detached")
        return .detached
      }
      if events.linkDead { loseLink("the kernel lost the connection") }
      if let outcome = dialer.takeOutcome() { handle(outcome) }
      if let outcome = detachment.takeOutcome() {
        isDetaching = report(outcome) || isDetaching
      }
      if round() == .detach { detachment.begin(binding: binding, flush: false) }
      watchProgress()
      if nextAttempt.hasPassed { attempt() }
      if giveUp.hasPassed { timeIsOver() }
    }
  }

  private func report(_ outcome: Detachment.Outcome) -> Bool {
    switch outcome {
    case .begun: return true
    case .inUse(let holders): detachment.tellThatItStays(store.device, holders, log)
    case .failed(let why):
      log.write(.error, "\(store.device): told to stop, but cannot detach: \(why)")
    }
    return false
  }

  /// A server that is silent, or half a reply that never ends: the kernel's own timer does not
  /// fire for the latter.
  private func watchProgress() {
    guard link == .connected, let now = Sysfs().statistics(binding.device) else { return }
    if progress.isMissing(
      inFlight: now.inFlight, completed: now.completed, at: monotonicNanoseconds(),
      timeout: request.ioTimeout)
    {
      loseLink("no reply within \(Int(request.ioTimeout)) s")
    }
  }

  private func loseLink(_ why: String) {
    guard link == .connected else { return }
    // All connections begin anew, as one: the old ones are ended before the first new one.
    endConnections()
    store.linkLost(why)
    log.write(.warning, "\(store.device): lost \(store.server): \(why); reconnecting")
    link = .reconnecting
    let now = Sysfs().statistics(binding.device)
    giveUp = outage.begin(
      hasAnswered: now.map { $0.completed != completedBefore } ?? true,
      isAwaited: (now?.inFlight ?? 0) > 0, timeout: request.reconnectTimeout)
    backoff.reset()
    // What waits for the kernel's timer fails only while there is no connection.
    nextAttempt = .after(
      seconds: giveUp.hasPassed
        ? request.ioTimeout + request.reconnectTimeout + 2 : backoff.next())
  }

  /// Ends what the kernel has; whether nothing is left of it.
  @discardableResult private func endConnections() -> Bool {
    for socket in sockets {
      shutdownSocket(socket)
      _ = Descriptor(owning: socket)
    }
    // Of those that a dead supervisor had there is no descriptor.
    let areGone =
      !sockets.isEmpty || store.state.sockets.map { $0.destroy() }.allSatisfy { $0 }
    sockets = []
    return areGone
  }

  private func attempt() {
    nextAttempt = .never
    // The kernel would keep the old connections beside those that it is offered.
    guard endConnections() else {
      return attemptFailed("the old connection cannot be ended: detach --force does")
    }
    guard link != .connected, !dialer.isBusy else { return }
    dialer.connect(
      connector, goal: .attach(export.name), count: store.state.connections)
  }

  private func handle(_ outcome: Dialer.Outcome) {
    switch outcome {
    case .connected(let connections): accept(connections)
    case .failed(let error): attemptFailed(error.summary)
    case .repeated, .repeatFailed: break  // Nobody keeps unflushed writes here.
    }
  }

  private func attemptFailed(_ why: String) {
    if store.attemptFailed(why) {
      log.write(.warning, "\(store.device): cannot reconnect: \(why)")
    }
    nextAttempt = .after(seconds: backoff.next())
  }

  private func accept(_ connections: [Connection]) {
    if let difference = connections.first?.export.flatMap({ export.difference(to: $0) }) {
      for connection in connections { connection.channel.cut() }
      return attemptFailed("the server's export is not the same: \(difference)")
    }
    guard connections.count == store.state.connections else {
      for connection in connections { connection.channel.cut() }
      return attemptFailed(
        "the server no longer allows \(store.state.connections) connections")
    }
    do throws(NBDSecureError) {
      sockets = try KernelTLSHandover.sockets(of: connections)
    } catch { return attemptFailed(error.summary) }
    do throws(KernelError) { try binding.replace(sockets: sockets) } catch {
      for socket in sockets {
        shutdownSocket(socket)
        _ = Descriptor(owning: socket)
      }
      sockets = []
      return attemptFailed("the kernel takes no new socket: \(error.message)")
    }
    link = .connected
    giveUp = .never
    backoff.reset()
    progress.reconnected(at: monotonicNanoseconds(), timeout: request.ioTimeout)
    completedBefore = Sysfs().statistics(binding.device)?.completed ?? 0
    store.note(sockets: sockets)
    let pause = store.reconnected(connections[0])
    log.write(.notice, "\(store.device): reconnected to \(store.server) after \(pause) ms")
  }

  /// The kernel fails what waits by itself (NBD_ATTR_DEAD_CONN_TIMEOUT); the attempts go on.
  private func timeIsOver() {
    giveUp = .never
    link = .failed
    store.linkFailed()
    log.write(
      .error,
      "\(store.device): gave up waiting for \(store.server) after "
        + "\(Int(request.reconnectTimeout)) s: I/O fails until it is back")
  }
}
