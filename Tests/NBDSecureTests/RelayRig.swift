// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import Synchronization
import Testing

@testable import NBDSecure

/// A relay on a thread, between a client and a server.
final class RelayRig {
  let server: ModelServer
  let relay: Relay
  let lane: Lane
  let client: ModelClient
  /// Of the relay's ring, which is the lane's to look at while it runs.
  let ringCapacity: Int
  let clock = RelayClock()
  /// What the disk must hold.
  var model: [UInt8]
  let parked = DispatchSemaphore(value: 0)
  let link: ModelLink
  /// After how many records connections over TLS are to be replaced.
  let lifetime: UInt64?

  init(
    size: Int = 1 << 20, flushWindow: Int = 1 << 20, ioTimeout: Double = 600,
    maximumRequest: UInt32 = Relay.Limits.maximumRequest, keepsConnection: Bool = false,
    link: ModelLink = .plain, lifetime: UInt64? = nil
  ) throws {
    self.link = link
    self.lifetime = lifetime
    server = ModelServer(size: size, link: link)
    model = [UInt8](repeating: 0, count: size)
    var settings = Relay.Settings(
      exportSize: UInt64(size),
      flags: [.hasFlags, .sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes],
      maximumRequest: maximumRequest, ioTimeout: UInt64(ioTimeout * 1e9),
      flushWindow: flushWindow)
    settings.keepsConnection = keepsConnection
    relay = try Relay(settings: settings, clock: clock)
    ringCapacity = relay.ring.capacity
    let parked = parked
    lane = try Lane(relay: relay, number: 0) { parked.signal() }
    client = ModelClient(Descriptor(owning: try relay.makePlainSide()))
    relay.channel = try link.channel(over: server.connect(), lifetime: lifetime)
  }

  /// Waits until the relay parks itself.
  func outcome() -> Relay.Outcome? {
    _ = parked.wait(timeout: .now() + 60)
    return lane.takeOutcome()
  }

  /// What a supervisor does when the server comes back.
  func reconnect() throws -> (Int, Int) {
    relay.settleUnfinishedReply()
    relay.channel?.cut()
    let channel = try link.channel(over: server.connect(), lifetime: lifetime)
    let result = try Replay(relays: [relay], channel: channel, idleTimeout: 120).run()
    relay.channel = channel
    relay.beginResend(now: monotonicNanoseconds())
    lane.run()
    return result
  }

  deinit {
    lane.park()
    lane.quit()
    server.crash()
  }
}

/// Connects again whenever a relay parks itself, while the test's thread is the load.
final class ModelSupervisor: @unchecked Sendable {
  private let rig: RelayRig
  private let isOver = Atomic<Bool>(false)
  private let done = DispatchSemaphore(value: 0)
  private var outcomes: [Relay.Outcome] = []

  init(_ rig: RelayRig) {
    self.rig = rig
    Thread.detachNewThread { [self] in
      while !isOver.load(ordering: .acquiring) {
        guard self.rig.parked.wait(timeout: .now() + 0.05) == .success else { continue }
        if let outcome = self.rig.lane.takeOutcome() { outcomes.append(outcome) }
        do { _ = try self.rig.reconnect() } catch { Issue.record(error) }
      }
      done.signal()
    }
  }

  /// Why it parked itself, each time.
  func finish() -> [Relay.Outcome] {
    isOver.store(true, ordering: .releasing)
    done.wait()
    return outcomes
  }
}
