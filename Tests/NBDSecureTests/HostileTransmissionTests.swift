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
  enum Ending: Sendable {
    /// The link is given up; the plain side has at most so many bytes of the answer.
    case lost([String], brokeProtocol: Bool, delivered: ClosedRange<Int> = 0...0)
    /// The plain side has an answer, with this error or with data.
    case answered(NBDError?)
  }

  /// What comes of each fault.
  private static let endings: [String: Ending] = [
    "a reply to nothing in flight": .lost(["not in flight"], brokeProtocol: true),
    "a reply to a slot's earlier use": .lost(["not in flight"], brokeProtocol: true),
    "a reply twice": .lost(["not in flight"], brokeProtocol: true, delivered: 0...4112),
    "a wrong magic": .lost(["magic"], brokeProtocol: true),
    "a request in place of a reply": .lost(["magic"], brokeProtocol: true),
    "an option reply in place of a reply": .lost(["magic"], brokeProtocol: true),
    "a structured reply": .lost(["magic"], brokeProtocol: true),
    "an error outside the list": .answered(.einval),
    "the largest error there is": .answered(.einval),
    "shutting down": .lost(["shutting down"], brokeProtocol: false),
    "truncated in place of a reply": .lost(["close_notify"], brokeProtocol: false),
    "truncated within the header": .lost(["close_notify"], brokeProtocol: false),
    "truncated within the data": .lost(["close_notify"], brokeProtocol: false, delivered: 0...1040),
    "close_notify in place of a reply": .lost(["ended"], brokeProtocol: false),
    "plaintext in place of a record": .lost(["record"], brokeProtocol: true),
    "a record with a bit flipped": .lost(["record"], brokeProtocol: true),
    "a record repeated": .lost(["record"], brokeProtocol: true, delivered: 0...1040),
    "a record left out": .lost(["record"], brokeProtocol: true),
    "two records exchanged": .lost(["record"], brokeProtocol: true),
    "a renegotiation request": .lost(["renegotiation"], brokeProtocol: true),
    "silence": .lost(["no reply"], brokeProtocol: false),
    "a byte of the header, then silence": .lost(["no reply"], brokeProtocol: false),
    "tickets in mid-stream": .answered(nil),
    "a key update that asks for one, in mid-stream": .answered(nil),
    "a byte in each record": .answered(nil),
  ]

  @Test func noFaultIsLeftOut() {
    #expect(Self.endings.keys.sorted() == TransmissionFault.all.map(\.name).sorted())
  }

  @Test(arguments: TransmissionFault.all) func isSeenThrough(_ fault: TransmissionFault) throws {
    let ending = try #require(Self.endings[fault.name])
    let pki = try PKI.shared.get()
    let server = try FakeServer(.ipv4) { try fault.play($0) }
    let begin = now()
    // Whatever the server does say must not come too late for it.
    let ioTimeout: UInt64 = fault.isSilent ? 2 : 600
    let connection = try connect(to: server.port, trusting: pki.trustOnly)
    let relay = try Relay(
      settings: Relay.Settings(
        exportSize: 1 << 20, flags: [.hasFlags], maximumRequest: 1 << 20,
        ioTimeout: ioTimeout * 1_000_000_000, flushWindow: 0), clock: RelayClock())
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

    switch ending {
    case .answered(let error):
      let reply = try client.reply()
      #expect(reply.cookie == cookie)
      #expect(reply.error == error)
      if error == nil { #expect(try client.data(4096) == TransmissionFault.data) }
      connection.channel.cut()
    case .lost(let words, let brokeProtocol, let delivered):
      #expect(parked.wait(timeout: .now() + 60) == .success)
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
    #expect(now() - begin < 10 * patience)
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
    options.connectTimeout = 60
    return try Connector(request: ConnectionRequest(options)).open(.attach(ExportName("")))
  }
}
