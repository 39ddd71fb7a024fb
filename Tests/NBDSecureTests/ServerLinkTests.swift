// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import Synchronization
import TestSupport
import Testing

@testable import NBDSecure

/// Several connections of one attachment to a real server, replaced because one of them is worn out.
@Suite struct ServerLinkTests {
  /// All lanes are emptied before any connection is replaced: nothing needs to be sent again.
  @Test func drainedTogether() throws {
    let rig = try LinkRig(lanes: 3) { $0.drain = 120 }
    let loads = rig.lanes.indices.map { number in LinkLoad(rig.clients[number], place: number) }
    #expect(eventually(within: 20) { loads.allSatisfy { $0.rounds > 5 } })
    for (time, worn) in [0, 2, 1].enumerated() {
      rig.lanes[worn].relay.drain()
      #expect(rig.serve(within: 20) { rig.record.reconnections == time + 1 })
      let before = loads.map(\.rounds)
      #expect(
        rig.serve(within: 20) { zip(loads, before).allSatisfy { $0.rounds > $1 + 5 } },
        "\(rig.record)")
    }
    for load in loads { #expect(load.finish() == nil) }
    rig.link.end()
    #expect(rig.lanes.map(\.relay.counters.resent) == [0, 0, 0])
    #expect(rig.link.losses == 3)
  }

  /// A lane that cannot be emptied, since half a request has come, does not keep the others waiting
  /// for ever.
  @Test func oneThatCannotBeDrained() throws {
    let rig = try LinkRig(lanes: 2)
    let payload = RelayRig.noise(4096)
    let write = Request(.write, flags: [], cookie: 1, offset: 0, length: 4096)
    try sendAll(
      write.encoded + payload[..<1000], to: rig.clients[1].socket.raw, until: .after(seconds: 60))
    let load = LinkLoad(rig.clients[0], place: 1)
    #expect(eventually(within: 20) { load.rounds > 5 })
    rig.lanes[0].relay.drain()
    #expect(rig.serve(within: 30) { rig.record.reconnections == 1 })
    try sendAll(
      Array(payload[1000...]), to: rig.clients[1].socket.raw, until: .after(seconds: 60))
    #expect(try rig.clients[1].reply().error == nil)
    #expect(try rig.clients[1].call(.read, offset: 0, length: 4096).1 == payload)
    #expect(load.finish() == nil)
    rig.link.end()
  }

  /// The kernel takes leave on one connection after another: the server hears it on each.
  @Test func takesLeaveOnEachConnection() throws {
    let rig = try LinkRig(lanes: 3) { $0.leave = 60 }
    _ = try rig.clients[1].send(.disc)
    let others = [2, 0].map { rig.clients[$0].socket.raw }
    Thread.detachNewThread {
      for socket in others {
        Thread.sleep(forTimeInterval: 0.2)
        let goodbye = Request(.disc, cookie: 1, offset: 0, length: 0)
        try? sendAll(goodbye.encoded, to: socket, until: .after(seconds: 60))
      }
    }
    rig.link.leave()
    let server = rig.server.process
    func goodbyes() -> Int {
      server.log.components(separatedBy: "client sent NBD_CMD_DISC").count - 1
    }
    #expect(eventually(within: 10) { goodbyes() == 3 }, "\(goodbyes()) of 3")
  }
}

/// The connections, lanes and plain sides of an attachment, without a kernel.
private final class LinkRig {
  let server: Server
  let lanes: [Lane]
  let clients: [ModelClient]
  let link: ServerLink
  let record = LinkJournal()
  private let events: LaneEvents

  init(lanes count: Int, _ change: (inout LinkPatience) -> Void = { _ in }) throws {
    server = try Server(ServerConfiguration(.nbdkit, arguments: ["-v"]))
    var options = ConnectionOptions()
    options.hostname = "localhost"
    options.address = "127.0.0.1"
    options.port = server.port
    options.export = server.configuration.export
    options.tlsCredentials = server.pki.trustOnly
    options.connectTimeout = 60
    let connector = Connector(request: try ConnectionRequest(options))
    let name = try ExportName(server.configuration.export)
    let connections = try openConnections(connector, goal: .attach(name), count: count)
    let export = try #require(connections[0].export)
    let settings = Relay.Settings(
      exportSize: export.size, flags: export.flags, maximumRequest: Relay.Limits.maximumRequest,
      ioTimeout: 600_000_000_000, flushWindow: 1 << 20)
    let clock = RelayClock()
    let events = try LaneEvents()
    self.events = events
    var clients: [ModelClient] = []
    lanes = try connections.enumerated().map { number, connection in
      let relay = try Relay(settings: settings, clock: clock)
      relay.channel = connection.channel
      clients.append(ModelClient(Descriptor(owning: try relay.makePlainSide())))
      return try Lane(relay: relay, number: number) { events.signal.signal() }
    }
    self.clients = clients
    var patience = LinkPatience(reconnectTimeout: 600, ioTimeout: 600)
    change(&patience)
    link = try ServerLink(
      lanes: lanes, connector: connector, export: export, patience: patience, record: record,
      log: EventLog { _, _ in }
    ) { _ in }
    link.start()
  }

  /// What a supervisor does, until `isOver`; whether that came in time, so long on a quiet machine.
  func serve(within seconds: Double, until isOver: () -> Bool) -> Bool {
    let end = Deadline.after(seconds: seconds * TestSupport.patience)
    while !isOver() {
      guard !end.hasPassed else { return false }
      try? events.signal.wait(until: .after(seconds: 0.02))
      _ = events.signal.drain()
      for lane in lanes {
        switch lane.takeOutcome() {
        case nil, .stopped: break
        case .drained: link.laneDrained()
        case let outcome?: record.linkLost("\(outcome)")
        }
      }
      link.step()
    }
    return true
  }

  deinit { link.end() }
}

/// What a link tells of itself.
private final class LinkJournal: LinkRecord, CustomStringConvertible {
  let subject = "/dev/nbd0"
  let server = "localhost"
  private(set) var reconnections = 0
  private(set) var description = ""

  func linkLost(_ why: String) { description += "lost: \(why)\n" }
  func linkFailed() { description += "failed\n" }
  func attemptFailed(_ why: String) -> Bool {
    description += "attempt failed: \(why)\n"
    return true
  }
  func reconnected(_ connection: Connection) -> UInt64 {
    reconnections += 1
    return 0
  }
}

/// Writes and reads at its own place of the disk, some of it in flight at all times.
private final class LinkLoad: @unchecked Sendable {
  private static let length = 64 << 10
  private let client: ModelClient
  private let start: Int
  private let counted = Atomic<Int>(0)
  private let isOver = Atomic<Bool>(false)
  private let done = DispatchSemaphore(value: 0)
  private var failure: (any Error)?

  /// How often it wrote, read and compared.
  var rounds: Int { counted.load(ordering: .acquiring) }

  init(_ client: ModelClient, place: Int) {
    self.client = client
    start = place << 20
    Thread.detachNewThread { [self] in
      do {
        while !isOver.load(ordering: .acquiring) {
          try round(UInt8(truncatingIfNeeded: rounds))
          counted.add(1, ordering: .releasing)
        }
      } catch { failure = error }
      done.signal()
    }
  }

  private func round(_ seed: UInt8) throws {
    let ranges = (0..<8).map { start + $0 * Self.length }
    let payloads = (0..<8).map { [UInt8](repeating: seed &+ UInt8($0), count: Self.length) }
    var waiting = Set(try zip(ranges, payloads).map { try client.write($0, $1) })
    while !waiting.isEmpty {
      let reply = try client.reply()
      guard waiting.remove(reply.cookie) != nil, reply.error == nil else {
        throw ModelError.wrongCookie
      }
    }
    for (range, payload) in zip(ranges, payloads) {
      let (error, data) = try client.call(.read, offset: range, length: Self.length)
      guard error == nil, data == payload else { throw ModelError.wrongCookie }
    }
  }

  /// Ends it; what went wrong.
  func finish() -> (any Error)? {
    isOver.store(true, ordering: .releasing)
    done.wait()
    return failure
  }
}
