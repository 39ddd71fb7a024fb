// SPDX-License-Identifier: Apache-2.0
import LinuxIO

// Who gets a seat, and what becomes of it afterwards.
extension ProxyServer {
  /// Lets in those who wait, in the order in which they came, as far as there are seats.
  func admitGuests() {
    for guest in guests where guest.waitingSince != nil {
      if link.state == .connected, let seat = vacantSeat() {
        give(seat, to: guest)
        continue
      }
      let obstacle = obstacle()
      if guest.hasWaited(for: obstacle.patience) { guest.refuse(obstacle.reason) }
    }
  }

  /// A seat with a connection that no client has.
  private func vacantSeat() -> ProxySeat? {
    seats.first { seat in !seat.isTaken && link.lanes.contains { $0 === seat.lane } }
  }

  private func give(_ seat: ProxySeat, to guest: Guest) {
    seat.lane.park()
    if case .lost(let lost) = seat.lane.takeOutcome() {
      link.lose(lost.reason, plainDied: false)
      return
    }
    guest.admit()
    if case .admitted = guest.progress { seat.take(guest.release()) }
    seat.lane.run()
  }

  /// Why a client must wait for a seat, and how long it does before it is refused.
  private func obstacle() -> (reason: String, patience: Double) {
    let connecting = request.connection.connectTimeout
    switch link.state {
    case .reconnecting:
      let why = record.lastError.map { ": \($0)" } ?? ""
      return ("the connection to the server is lost\(why)", connecting)
    case .failed:
      let why = record.lastError.map { ": \($0)" } ?? ""
      return ("the server has been gone for too long\(why)", 0)
    case .connected: break
    }
    guard seats.count(where: \.isTaken) < offer.seats else {
      let reason =
        offer.seats == 1
        ? "another client has the export, and the server does not allow several connections to it"
        : "\(offer.seats) clients have the export, and no more are served at once"
      return (reason, ProxyLimits.seatPatience)
    }
    if newcomer.isIdle { newcomer.call(for: link) }
    return ("no connection to the server for one more client", 2 * connecting)
  }

  /// Looks after lanes that parked themselves.
  func tendSeats() {
    for seat in seats {
      switch seat.lane.takeOutcome() {
      case nil, .stopped: break
      case .lost(let lost):
        restVacantSeats()
        link.lose(lost.reason, plainDied: false)
      case .drained:
        restVacantSeats()
        link.laneDrained()
      case .disconnected, .plainClosed: clientLeft(seat)
      }
    }
    if link.state != .connected, !link.isRepeating { freeDeadSeats() }
  }

  /// A client is gone: its connection is for the next, unless something of the client's is still
  /// on its way.
  private func clientLeft(_ seat: ProxySeat) {
    guard link.state == .connected else {
      seat.hasLeft = true
      return
    }
    let isQuiet = seat.isQuiet
    seat.vacate()
    if isQuiet {
      // One connection without a client is enough.
      if vacantSeats.contains(where: { $0 !== seat }) { return retire(seat) { seat.part() } }
      seat.lane.run()
    } else if link.lanes.count > 1 {
      // The others show when the server is lost; nothing needs to be repeated over a new one.
      retire(seat) { seat.lane.relay.channel?.cut() }
    } else {
      link.lose("a client left in the middle of a request", plainDied: false)
    }
  }

  private var vacantSeats: [ProxySeat] {
    seats.filter { seat in !seat.isTaken && link.lanes.contains { $0 === seat.lane } }
  }

  /// Takes the connection from a parked seat.
  private func retire(_ seat: ProxySeat, ending: () -> Void) {
    ending()
    seat.lane.relay.channel = nil
    link.lanes.removeAll { $0 === seat.lane }
    link.resting.append(seat.lane)
  }

  /// Before everything is connected anew: seats without clients need no connection, but one stays.
  private func restVacantSeats() {
    for seat in vacantSeats where link.state == .connected && link.lanes.count > 1 {
      seat.lane.park()
      retire(seat) { seat.lane.relay.channel?.cut() }
    }
  }

  /// Frees the seats of clients that left while there is no link. The relays are nobody else's.
  func freeDeadSeats() {
    for seat in seats where seat.isTaken && (seat.hasLeft || seat.lane.relay.isPlainDead) {
      seat.lane.park()
      seat.vacate()
    }
  }
}
