// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// The transmission phase with somebody on the wire, or with somebody else at its end: `proxy` in
/// front of a real server, qemu-io as its client.
@Suite struct WiretappedProxyTests {
  private static let byte: UInt8 = 0x5a
  private static let size = 256 << 10

  /// A proxy in front of a port.
  private func proxy(
    to port: Int, _ security: [String], _ options: [String] = []
  ) throws -> ProxyProcess {
    try ProxyProcess(
      [
        "--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(port)", "--export",
        "disk",
      ]
        + security + options)
  }

  private func io(_ proxy: ProxyProcess, _ commands: String...) throws -> Outcome {
    let uri = "nbd+unix:///disk?socket=\(proxy.socket)"
    return try run("qemu-io", ["-f", "raw"] + commands.flatMap { ["-c", $0] } + [uri])
  }

  @Test(arguments: [
    ServerTLS.required(.x509, .v12), .required(.x509, nil), .required(.psk, .v12),
    .required(.psk, nil),
  ])
  func dataNeverCrossesInTheClear(_ tls: ServerTLS) throws {
    let server = try Server(ServerConfiguration(.nbdkit, tls: tls, export: "disk", size: 1 << 20))
    let tap = try Wiretap(to: server.port)
    let proxy = try proxy(to: tap.port, server.credentials)
    let seen = try io(
      proxy, "write -P \(Self.byte) 0 \(Self.size)", "flush", "read -P \(Self.byte) 0 \(Self.size)")
    #expect(seen.status == 0 && !seen.stdout.contains("failed"), "\(seen)\n\(proxy.log)")
    proxy.process.stop()
    let marker = Data(repeating: Self.byte, count: 32)
    let tape = try tap.tape()
    #expect(tape.bytes(.toServer).count > Self.size && tape.bytes(.toClient).count > Self.size)
    #expect(Data(tape.bytes(.toServer)).range(of: marker) == nil)
    #expect(Data(tape.bytes(.toClient)).range(of: marker) == nil)
    // It did arrive.
    let disk = try Data(contentsOf: URL(fileURLWithPath: server.disk))
    #expect(disk.prefix(Self.size).allSatisfy { $0 == Self.byte })
  }

  /// A flipped bit ends the connection; on the next one everything is asked for again.
  @Test(arguments: [TLSVersion.v12, nil], [Wiretap.Direction.toClient, .toServer])
  func noCorruptedByteArrives(_ version: TLSVersion?, _ direction: Wiretap.Direction) throws {
    let server = try Server(
      ServerConfiguration(.nbdkit, tls: .required(.x509, version), export: "disk", size: 1 << 20))
    for (number, position) in stride(from: 9_001, to: Self.size, by: 101_009).enumerated() {
      let tap = try Wiretap(
        to: server.port,
        flip: Wiretap.Flip(direction: direction, position: position, mask: 1 << UInt8(number % 8)))
      let proxy = try proxy(to: tap.port, server.credentials)
      let value = Int(Self.byte) + number
      let seen = try io(
        proxy, "write -P \(value) 0 \(Self.size)", "flush", "read -P \(value) 0 \(Self.size)")
      #expect(seen.status == 0 && !seen.stdout.contains("failed"), "\(seen)\n\(proxy.log)")
      #expect(tap.hasFlipped)
      #expect(proxy.log.contains("reconnected"), "the flipped bit went unnoticed")
      let disk = try Data(contentsOf: URL(fileURLWithPath: server.disk))
      #expect(disk.prefix(Self.size).allSatisfy { $0 == UInt8(value) })
    }
  }

  /// The server of the first connection is the right one, and who answers later is not.
  @Test(arguments: ["wrong-name", "other-ca", "self-signed", "expired"])
  func aServerThatTurnsIntoAnotherGetsNothing(_ impostor: String) throws {
    let pki = try PKI.shared.get()
    let server = try FakeServer(.ipv4) { connection in
      try connection.greet()
      guard connection.index == 0 else {
        try connection.expect(Wire.Option.startTLS)
        try connection.send(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack))
        let directory = pki.path("servers/" + impostor)
        _ = try? connection.startTLS(
          .x509(certificate: directory + "/server-cert.pem", key: directory + "/server-key.pem"))
        return
      }
      try connection.acceptTLS(pki.identity)
      try connection.expect(Wire.Option.go)
      try connection.send(
        Wire.reply(to: Wire.Option.go, Wire.Reply.info, Wire.exportInfo(size: 1 << 20))
          + Wire.reply(to: Wire.Option.go, Wire.Reply.ack))
      // It never answers the first request, and goes.
      try connection.receive(28)
      connection.abort()
    }
    let proxy = try proxy(
      to: server.port, ["--tls-creds", pki.trustOnly], ["--reconnect-timeout", "2"])
    let seen = try io(proxy, "read 0 4096")
    #expect(seen.stdout.contains("read failed"), "\(seen)\n\(proxy.log)")
    #expect(
      eventually { proxy.log.contains("cannot reconnect") }, "\(proxy.log)")
    proxy.process.stop()
    let later = server.connections.dropFirst()
    #expect(!later.isEmpty)
    for connection in later { #expect(connection.record.decrypted.isEmpty) }
  }
}
