// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import TestSupport
import Testing

@testable import NBDSecure

/// A server that proved who it is, and lies in the transmission phase: connected as attach connects,
/// relayed as attach relays.
@Suite struct HostileTransmissionTests {
  /// One lie in answer to one READ of 4096 bytes.
  struct Fault: Sendable, CustomTestStringConvertible {
    enum Ending: Sendable {
      /// The link is given up; the plain side has at most so many bytes of the answer.
      case lost([String], brokeProtocol: Bool, delivered: ClosedRange<Int> = 0...0)
      /// The plain side has an answer, with this error or with data.
      case answered(NBDError?)
    }

    let name: String
    var priority = "NORMAL"
    let ending: Ending
    let script: @Sendable (FakeConnection, UInt64) throws -> Void

    init(
      _ name: String, priority: String = "NORMAL", _ ending: Ending,
      _ script: @escaping @Sendable (FakeConnection, UInt64) throws -> Void
    ) {
      self.name = name
      self.priority = priority
      self.ending = ending
      self.script = script
    }

    var testDescription: String { name }
  }

  private static let data = [UInt8](repeating: 0x5a, count: 4096)

  private static func reply(_ cookie: UInt64, error: UInt32 = 0, magic: UInt32 = 0x6744_6698)
    -> [UInt8]
  {
    TestSupport.Wire.be(magic) + TestSupport.Wire.be(error) + TestSupport.Wire.be(cookie)
  }

  private static let faults: [Fault] = [
    Fault("a reply to nothing in flight", .lost(["not in flight"], brokeProtocol: true)) {
      try $0.send(reply($1 ^ 1) + data)
    },
    Fault("a reply to a slot's earlier use", .lost(["not in flight"], brokeProtocol: true)) {
      try $0.send(reply($1 &- (1 << 12)) + data)
    },
    Fault(
      "a reply twice", .lost(["not in flight"], brokeProtocol: true, delivered: 0...4112)
    ) {
      try $0.send(reply($1) + data + reply($1) + data)
    },
    Fault("a wrong magic", .lost(["magic"], brokeProtocol: true)) {
      try $0.send(reply($1, magic: 0x6744_6699) + data)
    },
    Fault("a request in place of a reply", .lost(["magic"], brokeProtocol: true)) {
      try $0.send(reply($1, magic: 0x2560_9513) + data)
    },
    Fault("an option reply in place of a reply", .lost(["magic"], brokeProtocol: true)) {
      try $0.send(TestSupport.Wire.reply(to: 7, 1) + data)
      _ = $1
    },
    Fault("a structured reply", .lost(["magic"], brokeProtocol: true)) {
      try $0.send(
        TestSupport.Wire.be(UInt32(0x668e_33ef)) + TestSupport.Wire.be(UInt32(0x0001_0001))
          + TestSupport.Wire.be($1) + TestSupport.Wire.be(UInt32(4104))
          + TestSupport.Wire.be(UInt64(0)) + data)
    },
    Fault("an error outside the list", .answered(.einval)) {
      try $0.send(reply($1, error: 4711))
    },
    Fault("the largest error there is", .answered(.einval)) {
      try $0.send(reply($1, error: .max))
    },
    Fault("shutting down", .lost(["shutting down"], brokeProtocol: false)) {
      try $0.send(reply($1, error: 108))
    },
    Fault("truncated in place of a reply", .lost(["close_notify"], brokeProtocol: false)) {
      $0.shutdownWrite()
      _ = $1
    },
    Fault("truncated within the header", .lost(["close_notify"], brokeProtocol: false)) {
      try $0.send(Array(reply($1).prefix(9)))
      $0.shutdownWrite()
    },
    Fault(
      "truncated within the data",
      .lost(["close_notify"], brokeProtocol: false, delivered: 0...1040)
    ) {
      try $0.send(reply($1) + data.prefix(1024))
      $0.shutdownWrite()
    },
    Fault("close_notify in place of a reply", .lost(["ended"], brokeProtocol: false)) {
      $0.session?.endSession()
      _ = $1
    },
    Fault("plaintext in place of a record", .lost(["record"], brokeProtocol: true)) {
      try $0.sendRaw(reply($1) + data)
    },
    Fault("a record with a bit flipped", .lost(["record"], brokeProtocol: true)) {
      $0.tamper = { bytes in
        var bytes = bytes
        bytes[bytes.count / 2] ^= 1
        return bytes
      }
      try $0.send(reply($1) + data)
    },
    Fault(
      "a renegotiation request", priority: "NORMAL:-VERS-ALL:+VERS-TLS1.2",
      .lost(["renegotiation"], brokeProtocol: true)
    ) {
      try $0.session?.askRenegotiation()
      _ = $1
    },
    Fault("silence", .lost(["no reply"], brokeProtocol: false)) { _, _ in },
    Fault("a byte of the header, then silence", .lost(["no reply"], brokeProtocol: false)) {
      try $0.send([0x67])
      _ = $1
    },
    Fault("tickets in mid-stream", .answered(nil)) {
      try $0.send(reply($1))
      try $0.session?.sendTickets(2)
      try $0.send(data)
    },
    Fault("a key update that asks for one, in mid-stream", .answered(nil)) {
      try $0.send(reply($1) + data.prefix(100))
      try $0.session?.updateKeys(asking: true)
      try $0.send(Array(data.dropFirst(100)))
    },
    Fault("a byte in each record", .answered(nil)) {
      try $0.send(reply($1) + data, pieces: 1, pause: 0)
    },
  ]

  @Test(arguments: faults) func isSeenThrough(_ fault: Fault) throws {
    let pki = try PKI.shared.get()
    let server = try FakeServer(.ipv4) { connection in
      try connection.greet()
      var identity = pki.identity
      identity.priority = fault.priority
      try connection.acceptTLS(identity)
      try connection.expect(TestSupport.Wire.Option.go)
      try connection.send(
        TestSupport.Wire.reply(
          to: TestSupport.Wire.Option.go, TestSupport.Wire.Reply.info,
          TestSupport.Wire.exportInfo(size: 1 << 20))
          + TestSupport.Wire.reply(to: TestSupport.Wire.Option.go, TestSupport.Wire.Reply.ack))
      let request = try connection.receive(28)
      connection.fault()
      try fault.script(connection, TestSupport.Wire.integer(request[8..<16]))
    }
    let begin = now()
    let connection = try connect(to: server.port, trusting: pki.trustOnly)
    let relay = try Relay(
      settings: Relay.Settings(
        exportSize: 1 << 20, flags: [.hasFlags], maximumRequest: 1 << 20,
        ioTimeout: 2_000_000_000, flushWindow: 0), clock: RelayClock())
    relay.channel = connection.channel
    let client = ModelClient(Descriptor(owning: try relay.makePlainSide()))
    let parked = DispatchSemaphore(value: 0)
    let lane = try Lane(relay: relay, number: 0) { parked.signal() }
    defer {
      lane.park()
      lane.quit()
    }
    lane.run()
    let cookie = try client.send(.read, offset: 0, length: 4096)

    switch fault.ending {
    case .answered(let error):
      let reply = try client.reply()
      #expect(reply.cookie == cookie)
      #expect(reply.error == error)
      if error == nil { #expect(try client.data(4096) == Self.data) }
      connection.channel.cut()
    case .lost(let words, let brokeProtocol, let delivered):
      #expect(parked.wait(timeout: .now() + 10) == .success)
      guard case .lost(let why) = lane.takeOutcome() else {
        Issue.record("the relay believed it")
        return
      }
      #expect(why.brokeProtocol == brokeProtocol)
      for word in words { #expect(why.reason.contains(word), "\(why.reason)") }
      var buffer = [UInt8](repeating: 0, count: 8192)
      let count = recv(client.socket.raw, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      #expect(delivered.contains(max(count, 0)), "\(count) bytes reached the plain side")
      connection.channel.cut()
    }
    #expect(now() - begin < 10)
    // After the lie the server hears nothing but, in TLS, that it is over.
    let record = try server.finished().record
    let mark = try #require(record.fault)
    #expect(record.plaintext.count == mark.plaintext)
    #expect(record.decrypted.count == mark.decrypted)
  }

  private func connect(to port: Int, trusting directory: String) throws -> Connection {
    var options = ConnectionOptions()
    options.hostname = "localhost"
    options.address = "127.0.0.1"
    options.port = port
    options.tlsCredentials = directory
    return try Connector(request: ConnectionRequest(options)).open(.attach(ExportName("")))
  }
}
