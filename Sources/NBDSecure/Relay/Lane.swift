// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import Synchronization
import SystemPackage

/// A relay and the thread that runs it. Between two runs the relay is parked, and whoever parked
/// it may look into it and change it.
final class Lane: Sendable {
  private enum Order { case none, run, refuse, quit }

  private struct State {
    var order = Order.none
    var parked = true
    var outcome: Relay.Outcome?
  }

  let relay: Relay
  private let state = Mutex(State())
  private let ordered: EventSignal
  private let parked: EventSignal
  private let report: @Sendable () -> Void

  /// Starts the thread, parked.
  ///
  /// - Parameter report: called on the lane's thread each time that the relay parks itself.
  /// - Throws: `Errno` when a thread or a descriptor cannot be had.
  init(relay: Relay, number: Int, report: @escaping @Sendable () -> Void) throws(Errno) {
    self.relay = relay
    self.report = report
    ordered = try EventSignal()
    parked = try EventSignal()
    try spawnDetachedThread(name: "relay-\(number)") { [self] in work() }
  }

  private func work() {
    while true {
      try? ordered.wait(until: .never)
      _ = ordered.drain()
      let order = state.withLock { state in
        defer { state.order = .none }
        return state.order
      }
      let outcome: Relay.Outcome
      switch order {
      case .none: continue
      case .quit: return
      case .run: outcome = relay.run()
      case .refuse: outcome = relay.runRefusing()
      }
      state.withLock {
        $0.parked = true
        $0.outcome = outcome
      }
      parked.signal()
      report()
    }
  }

  private func give(_ order: Order) {
    state.withLock {
      $0.parked = order == .quit
      $0.outcome = nil
      $0.order = order
    }
    _ = parked.drain()
    ordered.signal()
  }

  /// Runs the relay until it parks itself.
  func run() {
    relay.prepare()
    give(.run)
  }

  /// Runs the relay without a server: everything is refused.
  func refuse() {
    relay.prepare()
    give(.refuse)
  }

  /// Parks the relay and waits until it is.
  func park() {
    relay.stop()
    awaitParked(by: .never)
  }

  /// Waits until the relay has parked itself, no longer than until `deadline`.
  func awaitParked(by deadline: Deadline) {
    while !state.withLock({ $0.parked }), !deadline.hasPassed { try? parked.wait(until: deadline) }
  }

  /// Whether the kernel, or the client, closed its end. The relay is parked, or was just asked.
  var hasDeadPlainSide: Bool { relay.isPlainDead }

  /// Ends the thread; the relay is parked.
  func quit() { give(.quit) }

  /// Why the relay parked itself, once; nil while it runs and after it was asked for.
  func takeOutcome() -> Relay.Outcome? {
    state.withLock { state in
      defer { state.outcome = nil }
      return state.parked ? state.outcome : nil
    }
  }
}
