// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage

/// A place for one client: a lane, which outlives its clients.
///
/// What a client had written and nobody has flushed stays with the relay when the client leaves, so
/// that a later FLUSH, by whomever, means what it says.
final class ProxySeat {
  let lane: Lane
  /// A client has it.
  var isTaken = false
  /// Its client left while the relay could not be touched.
  var hasLeft = false

  /// - Parameter report: called when the lane parks itself, and when a FLUSH of its own is answered.
  init(
    settings: Relay.Settings, clock: RelayClock, number: Int, report: @escaping @Sendable () -> Void
  ) throws(Errno) {
    let relay = try Relay(settings: settings, clock: clock)
    relay.flushAnswered = report
    lane = try Lane(relay: relay, number: number, report: report)
  }

  /// Whether the connection can serve another client. The lane is parked.
  var isQuiet: Bool { lane.relay.isQuiet }

  /// Ends the client's connection, whose seat is then free. The lane is parked.
  func vacate() {
    lane.relay.dropPlain()
    isTaken = false
    hasLeft = false
  }

  /// Gives the seat to a client. The lane is parked.
  func take(_ client: consuming Descriptor) {
    try? setBufferSizes(
      client.raw, send: Relay.Limits.socketBuffer, receive: Relay.Limits.socketBuffer)
    lane.relay.replacePlain(with: client)
    isTaken = true
    hasLeft = false
  }

  /// Parts from the server in an orderly way. The lane is parked, and no client has it.
  func part() {
    guard let channel = lane.relay.channel else { return }
    let farewell = Request(.disc, cookie: 0, offset: 0, length: 0).encoded
    unsafe farewell.withUnsafeBytes { bytes in
      _ = try? unsafe channel.send(bytes)
      _ = try? channel.flush()
    }
    channel.close(by: .after(seconds: ProxyLimits.partingTimeout))
    lane.relay.channel = nil
  }
}
