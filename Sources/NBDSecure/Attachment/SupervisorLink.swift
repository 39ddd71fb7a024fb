// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel
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

// A lost server is a pause: connect anew with the same checks, repeat, resume.
extension Supervisor {
  /// The server, or the kernel's end of a lane, is gone: park everything and begin again.
  func loseLink(_ why: String, plainDied: Bool) {
    guard link == .connected else {
      // A lane that refuses requests lost its plain side: it refuses on a fresh one.
      if plainDied {
        renewDeadSockets()
        if link == .failed { refuseOnAllLanes() }
      }
      return
    }
    for lane in lanes { lane.park() }
    for lane in lanes {
      lane.relay.settleUnfinishedReply()
      // The old connection is shut down before anything is repeated on a new one.
      lane.relay.channel?.cut()
      lane.relay.channel = nil
    }
    store.linkLost(why)
    if request.reconnectTimeout == 0 {
      log.write(.error, "\(store.device): lost \(store.server): \(why); I/O fails from now on")
      enterFailed()
      return
    }
    log.write(.warning, "\(store.device): lost \(store.server): \(why); reconnecting")
    link = .reconnecting
    giveUp = .after(seconds: request.reconnectTimeout)
    if plainDied { renewDeadSockets() }
    backoff.reset()
    scheduleAttempt()
  }

  private func scheduleAttempt() {
    nextAttempt = .after(seconds: backoff.next())
  }

  /// Connects again, on the dialer's thread.
  func attempt() {
    nextAttempt = .never
    guard link != .connected, !dialer.isBusy else { return }
    dialer.connect(connector, goal: .attach(export.name), count: lanes.count)
  }

  func handle(_ outcome: Dialer.Outcome) {
    switch outcome {
    case .connected(let connections): accept(connections)
    case .failed(let error): attemptFailed(error.summary)
    case .repeatFailed(let lost):
      drop(&pending)
      attemptFailed(lost.reason)
    case .repeated(let writes, let failed): resume(repeated: writes, failed: failed)
    }
  }

  private func attemptFailed(_ why: String) {
    let isNews = store.attemptFailed(why)
    if isNews { log.write(.warning, "\(store.device): cannot reconnect: \(why)") }
    // The time ran out while the writes were being repeated.
    if giveUp.hasPassed { failRequests() }
    scheduleAttempt()
  }

  /// New connections: the same export? Then the unflushed writes are repeated first.
  private func accept(_ connections: [Connection]) {
    var connections = connections
    guard connections.count == lanes.count,
      let found = connections.first?.export
    else {
      drop(&connections)
      return attemptFailed("the server no longer allows \(lanes.count) connections")
    }
    if let difference = export.difference(to: found) {
      drop(&connections)
      return attemptFailed("the server's export is not the same: \(difference)")
    }
    for lane in lanes { lane.park() }
    pending = connections
    dialer.repeatWrites(
      of: lanes.map(\.relay), over: connections[0].channel, idleTimeout: request.ioTimeout)
  }

  private func drop(_ connections: inout [Connection]) {
    for connection in connections { connection.channel.cut() }
    connections = []
  }

  private func resume(repeated: Int, failed: Int) {
    renewDeadSockets()
    let now = monotonicNanoseconds()
    for (lane, connection) in zip(lanes, pending) {
      lane.relay.channel = connection.channel
      lane.relay.beginResend(now: now)
      lane.run()
    }
    let pause = store.reconnected(pending[0])
    pending = []
    link = .connected
    giveUp = .never
    nextAttempt = .never
    backoff.reset()
    log.write(
      .notice,
      "\(store.device): reconnected to \(store.server) after \(pause) ms"
        + (repeated > 0 ? ", \(repeated) unflushed writes repeated" : ""))
    if failed > 0 {
      log.write(
        .error,
        "\(store.device): the server refused \(failed) of \(repeated) writes that it had "
          + "acknowledged and lost: the next flush fails")
    }
  }

  /// The server has been gone for too long: what waits fails, and what comes, until it is back.
  func failRequests() {
    guard link == .reconnecting else {
      giveUp = .never
      return
    }
    // While writes are being repeated the relays belong to the dialer; its end comes back here.
    guard pending.isEmpty else {
      giveUp = .after(seconds: 1)
      return
    }
    log.write(
      .error,
      "\(store.device): gave up waiting for \(store.server) after "
        + "\(Int(request.reconnectTimeout)) s: I/O fails until it is back")
    enterFailed()
  }

  private func enterFailed() {
    link = .failed
    giveUp = .never
    store.linkFailed()
    renewDeadSockets()
    refuseOnAllLanes()
  }

  private func refuseOnAllLanes() {
    for lane in lanes {
      lane.park()
      lane.refuse()
    }
  }

  /// Gives the kernel a fresh socket for each lane whose old one it gave up; it sends again there
  /// what it had sent, and the lane forgets it: one of the two repeats, never both.
  func renewDeadSockets() {
    guard binding.replacesSockets else { return }
    var kernelEnds: [Int32] = []
    defer { for end in kernelEnds { _ = Descriptor(owning: end) } }
    for lane in lanes where lane.hasDeadPlainSide {
      lane.park()
      do { kernelEnds.append(try lane.relay.makePlainSide()) } catch {
        log.write(.error, "\(store.device): cannot make a socket: \(error)")
      }
    }
    guard !kernelEnds.isEmpty else { return }
    do { try binding.replace(sockets: kernelEnds) } catch {
      log.write(.error, "\(store.device): the kernel takes no new socket: \(error.message)")
    }
  }
}
