// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import Synchronization
import SystemPackage

/// Connects, and repeats unflushed writes, on a thread of its own, so that the supervisor stays
/// responsive. One job at a time, all on the same thread.
final class Dialer: Sendable {
  /// What a job came to.
  enum Outcome {
    case connected([Connection])
    case failed(NBDSecureError)
    case repeated(writes: Int, failed: Int)
    case repeatFailed(LinkLost)
  }

  /// Enough for a handshake with GnuTLS, which has large local buffers.
  private static let stackSize = 1 << 20

  private struct State {
    var busy = false
    var outcome: Handover<Outcome>?
  }

  private let state = Mutex(State())
  /// Readable when a job is done.
  let done: EventSignal
  private let worker: Worker

  init() throws(Errno) {
    done = try EventSignal()
    worker = try Worker(name: "dialer", stackSize: Self.stackSize)
  }

  /// Whether a job runs, or its outcome was not taken yet.
  var isBusy: Bool { state.withLock { $0.busy } }

  /// Opens `count` connections.
  func connect(_ connector: Connector, goal: Goal, count: Int) {
    start {
      do throws(NBDSecureError) {
        return .connected(try openConnections(connector, goal: goal, count: count))
      } catch {
        return .failed(error)
      }
    }
  }

  /// Repeats the unflushed writes of parked relays over a new connection.
  func repeatWrites(of relays: [Relay], over channel: any Channel, idleTimeout: Double) {
    let channel = Handover(channel)
    start(otherwise: Self.repetitionFailed) {
      do throws(LinkLost) {
        let replay = Replay(relays: relays, channel: channel.value, idleTimeout: idleTimeout)
        let (repeated, failed) = try replay.run()
        return .repeated(writes: repeated, failed: failed)
      } catch {
        return .repeatFailed(error)
      }
    }
  }

  private static func connectingFailed(_ why: String) -> Outcome {
    .failed(NBDSecureError(.other, why))
  }

  private static func repetitionFailed(_ why: String) -> Outcome {
    .repeatFailed(LinkLost(reason: why))
  }

  private func start(
    otherwise failure: (String) -> Outcome = Dialer.connectingFailed,
    _ job: @escaping @Sendable () -> Outcome
  ) {
    state.withLock { $0.busy = true }
    do throws(Errno) {
      try worker.run { [self] in finish(job()) }
    } catch {
      finish(failure("cannot start a thread: \(error)"))
    }
  }

  private func finish(_ outcome: Outcome) {
    let outcome = Handover(outcome)
    state.withLock { $0.outcome = outcome }
    done.signal()
  }

  /// The outcome of the job that is done, once.
  func takeOutcome() -> Outcome? {
    _ = done.drain()
    return state.withLock { state -> Handover<Outcome>? in
      guard let outcome = state.outcome else { return nil }
      state.outcome = nil
      state.busy = false
      return outcome
    }?.value
  }
}

/// A value that moves from one thread to another and is used by one at a time.
struct Handover<Value>: @unchecked Sendable {
  let value: Value
  init(_ value: Value) { self.value = value }
}

/// Opens several connections to the same export of the same server, all within the connect timeout;
/// the first decides how many there are.
func openConnections(
  _ connector: Connector, goal: Goal, count: (Export) -> Int
) throws(NBDSecureError) -> [Connection] {
  let deadline = connector.deadline
  var connector = connector
  let first = try connector.open(goal, by: deadline)
  guard let export = first.export else {
    throw NBDSecureError(.protocolViolation, "\(connector.request.endpoint): no export")
  }
  connector.use.bind(to: first)
  // What follows was told already.
  connector.warn = { _ in }
  var connections = [first]
  let wanted = count(export)
  while connections.count < wanted {
    let next = try connector.open(goal, by: deadline)
    guard let other = next.export, other.isSame(as: export) else {
      throw NBDSecureError(
        .protocolViolation,
        "\(connector.request.endpoint): two connections got two different exports")
    }
    connections.append(next)
  }
  return connections
}

/// The same for a device or clients; one, where the server does not allow several.
func openConnections(
  _ connector: Connector, goal: Goal, count: Int
) throws(NBDSecureError) -> [Connection] {
  try openConnections(connector, goal: goal) { export in
    guard count > 1, !export.flags.contains(.canMultiConn) else { return count }
    connector.warn(
      "the server does not allow several connections to this export: using 1 instead of \(count)")
    return 1
  }
}

extension Export {
  /// Whether a device can go on with `other` in its place.
  func isSame(as other: Export) -> Bool { difference(to: other) == nil }

  /// What differs, so that a device cannot go on with `other`; nil when it can.
  func difference(to other: Export) -> String? {
    if size != other.size { return "its size is \(other.size) instead of \(size) bytes" }
    if flags != other.flags {
      return other.flags.contains(.readOnly) && !flags.contains(.readOnly)
        ? "it is read-only now" : "its flags changed"
    }
    if blockSizes != other.blockSizes { return "its block sizes changed" }
    return nil
  }
}
