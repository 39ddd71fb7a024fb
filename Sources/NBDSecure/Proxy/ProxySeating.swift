// SPDX-License-Identifier: Apache-2.0
import LinuxIO

// Who gets a seat, and what becomes of it afterwards.
extension ProxyServer {
  /// Lets in those who wait, in the order in which they came, as far as there are seats.
  func admitGuests() {
    for guest in guests where guest.waitingSince != nil {
      if link.state == .connected, !link.isDraining {
        let vacant = vacantSeats
        if let seat = vacant.last, vacant.count > standby {
          give(seat, to: guest)
          continue
        }
      }
      let obstacle = obstacle()
      if guest.hasWaited(for: obstacle.patience) { guest.refuse(obstacle.reason) }
    }
  }

  /// Seats with a connection that no client has.
  private var vacantSeats: [ProxySeat] {
    seats.filter { seat in !seat.isTaken && link.lanes.contains { $0 === seat.lane } }
  }

  /// How many connections are never given to a client: one, where there may be several. It speaks
  /// for the server when a newcomer is to be proven, which a connection whose client does not read
  /// its replies cannot.
  private var standby: Int { offer.seats > 1 && newcomer.keepsWrites ? 1 : 0 }

  /// Who can prove a newcomer.
  var witnesses: [Lane] {
    let vacant = vacantSeats.map(\.lane)
    return vacant.isEmpty ? link.lanes : vacant
  }

  /// No newcomer came: the first who waits gets the connection that stands by, or is refused.
  func disappointGuest(_ why: String) {
    guard let guest = guests.first(where: { $0.waitingSince != nil }) else { return }
    guard link.state == .connected, !link.isDraining, let seat = vacantSeats.last else {
      return guest.refuse(why)
    }
    give(seat, to: guest)
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
    _ = events.signal.drain()
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
      // There is nothing in flight on it: it waits for the others.
      if link.isDraining { return link.laneDrained() }
      // One connection for the next client is enough.
      if vacantSeats.count > standby + 1 { return retire(seat) { seat.part() } }
      seat.lane.run()
    } else if link.lanes.count > 1 {
      // The others show when the server is lost; nothing needs to be repeated over a new one.
      retire(seat) { seat.lane.relay.channel?.cut() }
    } else {
      link.lose("a client left in the middle of a request", plainDied: false)
    }
  }

  /// Takes the connection from a parked seat.
  private func retire(_ seat: ProxySeat, ending: () -> Void) {
    ending()
    seat.lane.relay.channel = nil
    link.lanes.removeAll { $0 === seat.lane }
    link.resting.append(seat.lane)
  }

  /// Before everything is connected anew: seats without clients need no connection, but one.
  private func restVacantSeats() {
    guard link.state == .connected else { return }
    for seat in vacantSeats.dropFirst() {
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
