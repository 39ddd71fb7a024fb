// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage

/// One more connection for a link that has some already: dialed, and proven to lead to the same
/// incarnation of the server.
///
/// A link's connections are lost and repeated over together, so a connection to a server that
/// restarted meanwhile must not stand beside ones to its predecessor: a FLUSH on it would succeed
/// and speak for writes that are lost. The proof: a request that was sent on an old connection
/// after the new one was made, and is answered.
final class Newcomer {
  enum Outcome {
    case joined(Connection)
    case refused(String)
  }

  private enum Phase {
    case idle
    case dialing
    /// Waits for a FLUSH that was sent at this instant or later.
    case proving(Connection, UInt64)
  }

  private let connector: Connector
  private let export: Export
  private let clock: RelayClock
  /// Whether writes are kept for a repetition at all.
  let keepsWrites: Bool
  private let dialer: Dialer
  private var phase = Phase.idle
  /// How often the link had been lost when the connection was wanted.
  private var losses = 0

  init(
    connector: Connector, export: Export, clock: RelayClock, keepsWrites: Bool
  ) throws(NBDSecureError) {
    self.connector = connector
    self.export = export
    self.clock = clock
    self.keepsWrites = keepsWrites
    dialer = try system("make an event descriptor") { () throws(Errno) in try Dialer() }
  }

  /// Readable when `step` has something to do.
  var eventDescriptor: Int32 { dialer.done.descriptor.raw }

  var isIdle: Bool { if case .idle = phase { !dialer.isBusy } else { false } }

  /// Begins to connect; `isIdle` was true.
  func call(for link: ServerLink) {
    losses = link.losses
    phase = .dialing
    dialer.connect(connector, goal: .attach(export.name), count: 1)
  }

  /// Does what is due; the outcome, once there is one.
  ///
  /// - Parameter witnesses: old connections, one of which has to answer.
  func step(_ link: ServerLink, witnesses: [Lane]) -> Outcome? {
    let isCurrent = link.state == .connected && link.losses == losses
    if let outcome = dialer.takeOutcome() {
      phase = .idle
      switch outcome {
      case .failed(let error): return .refused(error.summary)
      case .repeated, .repeatFailed: return nil
      case .connected(let connections):
        guard let connection = connections.first, let found = connection.export else { return nil }
        guard isCurrent else { return discard(connection) }
        if let difference = export.difference(to: found) {
          _ = discard(connection)
          return .refused("the server's export is not the same: \(difference)")
        }
        guard keepsWrites else { return .joined(connection) }
        phase = .proving(connection, clock.tick())
        for lane in witnesses { lane.relay.requestFlush() }
      }
    }
    guard case .proving(let connection, let since) = phase else { return nil }
    guard isCurrent else { return discard(connection) }
    guard clock.flushedThrough >= since else { return nil }
    phase = .idle
    return .joined(connection)
  }

  /// Gives up what is under way.
  func end() { if case .proving(let connection, _) = phase { _ = discard(connection) } }

  private func discard(_ connection: Connection) -> Outcome? {
    connection.channel.cut()
    phase = .idle
    return nil
  }
}
