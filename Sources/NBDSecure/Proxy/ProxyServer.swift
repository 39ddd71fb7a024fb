// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDProtocol
import SystemPackage

/// Local clients on one side, a link to the server on the other, and a seat between them for each
/// client in the transmission phase.
///
/// One thread runs this; each seat's lane has its own.
final class ProxyServer {
  let request: ProxyRequest
  let offer: ProxyOffer
  let log: EventLog
  let record: ProxyRecord
  let link: ServerLink
  let newcomer: Newcomer
  var seats: [ProxySeat]
  var guests: [Guest] = []
  private let settings: Relay.Settings
  private let clock: RelayClock
  let events: LaneEvents
  private let trace: @Sendable (String) -> Void
  private var guestsEver = 0
  /// Until then no client is accepted: the system has no descriptors for it.
  private var acceptAgain = Deadline(nanoseconds: 0)

  /// Serves clients over `connection` to begin with.
  init(
    request: ProxyRequest, connector: Connector, connection: Connection, export: Export,
    offer: ProxyOffer, log: EventLog, trace: @escaping @Sendable (String) -> Void
  ) throws(NBDSecureError) {
    self.request = request
    self.offer = offer
    self.log = log
    self.trace = trace
    record = ProxyRecord(path: request.path, server: request.connection.endpoint.server)
    var settings = Relay.Settings(
      exportSize: export.size, flags: offer.export.flags,
      maximumRequest: offer.blockSizes.maximum,
      ioTimeout: UInt64(request.ioTimeout * 1_000_000_000),
      flushWindow: request.flushWindow << 20)
    settings.keepsConnection = true
    settings.renewsConnections = request.reconnectTimeout > 0
    self.settings = settings
    let clock = RelayClock()
    self.clock = clock
    let (events, seat) = try system("set up the relay") { () throws(Errno) in
      let events = try LaneEvents()
      let seat = try ProxySeat(settings: settings, clock: clock, number: 0) {
        events.signal.signal()
      }
      return (events, seat)
    }
    seat.lane.relay.channel = connection.channel
    self.events = events
    seats = [seat]
    newcomer = try Newcomer(
      connector: connector, export: export, clock: clock,
      keepsWrites: seat.lane.relay.keepsUnflushed)
    var freeDeadSeats: () -> Void = {}
    link = try ServerLink(
      lanes: [seat.lane], connector: connector, export: export,
      patience: LinkPatience(
        reconnectTimeout: request.reconnectTimeout, ioTimeout: request.ioTimeout),
      record: record, log: log
    ) { _ in freeDeadSeats() }
    freeDeadSeats = { [unowned self] in self.freeDeadSeats() }
  }

  // MARK: The loop

  /// Serves until SIGTERM or SIGINT.
  ///
  /// - Throws: `NBDSecureError` when the server is lost for good.
  func run(listener: Int32, signals: borrowing SignalQueue) throws(NBDSecureError) {
    let fixed = 5
    var poll = PollSet(count: fixed + ProxyLimits.handshakes)
    poll.set(0, signals.descriptor.raw, .read)
    poll.set(1, events.signal.descriptor.raw, .read)
    poll.set(2, link.eventDescriptor, .read)
    poll.set(3, newcomer.eventDescriptor, .read)
    link.start()
    defer { end() }
    while true {
      let accepts = guests.count < ProxyLimits.handshakes && acceptAgain.hasPassed
      poll.set(4, accepts ? listener : -1, .read)
      for place in 0..<ProxyLimits.handshakes {
        let guest = place < guests.count ? guests[place] : nil
        poll.set(fixed + place, guest?.descriptor ?? -1, guest?.awaited ?? [])
      }
      _ = try? poll.wait(until: nextDeadline)
      if isToldToStop(signals) { return }
      for (place, guest) in guests.enumerated() {
        guest.advance(found: poll.found(fixed + place))
      }
      tendSeats()
      link.step()
      receiveNewcomer()
      if accepts, !poll.found(4).isEmpty { accept(from: listener) }
      admitGuests()
      for guest in guests {
        if case .gone(let why?) = guest.progress { trace("client \(guest.number): \(why)") }
      }
      guests.removeAll { $0.isOver }
      if link.state == .failed, request.reconnectTimeout == 0, !seats.contains(where: \.isTaken) {
        throw NBDSecureError(
          .io, "\(request.path): lost \(record.server): \(record.lastError ?? "no connection")",
          hint: "--reconnect-timeout makes clients wait for a lost server")
      }
    }
  }

  private var nextDeadline: Deadline {
    var next = link.deadline
    if !acceptAgain.hasPassed { next = min(next, acceptAgain) }
    for guest in guests { next = min(next, guest.deadline) }
    // Without a link nobody reads the clients' sockets: look now and then whether they are there;
    // and whether those who wait for a seat have waited for long enough.
    let isWatchful = link.state != .connected || guests.contains { $0.waitingSince != nil }
    return isWatchful ? min(next, .after(seconds: 0.5)) : next
  }

  private func isToldToStop(_ signals: borrowing SignalQueue) -> Bool {
    while let signal = try? signals.next() {
      if [SIGTERM, SIGINT].contains(signal.number) { return true }
    }
    return false
  }

  private func accept(from listener: Int32) {
    while guests.count < ProxyLimits.handshakes {
      do {
        guard let socket = try acceptConnection(listener) else { return }
        guestsEver += 1
        let guest = Guest(
          socket, number: guestsEver,
          negotiation: ServerNegotiation(export: offer.export, blockSizes: offer.blockSizes),
          trace: trace)
        guests.append(guest)
        guest.advance(found: .read)
      } catch {
        log.write(.warning, "\(request.path): cannot accept a client: \(error)")
        acceptAgain = .after(seconds: ProxyLimits.acceptPause)
        return
      }
    }
  }

  /// Closes clients and connections.
  private func end() {
    newcomer.end()
    if !link.isRepeating {
      for seat in seats {
        seat.lane.park()
        let isQuiet = seat.isQuiet
        seat.vacate()
        if isQuiet { seat.part() }
      }
    }
    link.end()
  }

  // MARK: More connections

  /// A seat with a connection of its own for one more client.
  private func receiveNewcomer() {
    switch newcomer.step(link, witnesses: witnesses) {
    case nil: break
    case .refused(let why):
      log.write(.warning, "\(request.path): no connection for one more client: \(why)")
      disappointGuest(why)
    case .joined(let connection):
      do {
        let seat = try freeSeat()
        seat.lane.relay.channel = connection.channel
        link.resting.removeAll { $0 === seat.lane }
        link.lanes.append(seat.lane)
        seat.lane.run()
      } catch {
        connection.channel.cut()
        log.write(.warning, "\(request.path): no memory for one more client: \(error)")
        disappointGuest("no memory: \(error)")
      }
    }
  }

  /// A seat without a connection; a new one where there is none.
  private func freeSeat() throws(Errno) -> ProxySeat {
    if let seat = seats.first(where: { seat in link.resting.contains { $0 === seat.lane } }) {
      return seat
    }
    let events = events
    let seat = try ProxySeat(settings: settings, clock: clock, number: seats.count) {
      events.signal.signal()
    }
    seats.append(seat)
    link.resting.append(seat.lane)
    return seat
  }
}
