// SPDX-License-Identifier: Apache-2.0

/// One lie of a server that proved who it is, in answer to one READ of 4096 bytes.
package struct TransmissionFault: Sendable, CustomStringConvertible {
  /// Its name, under which the tests keep what must come of it.
  package let name: String
  package var description: String { name }
  /// Whether it ends in silence, which only a time limit ends.
  package var isSilent: Bool { name.hasSuffix("silence") }
  /// GnuTLS priorities of the server.
  package let priority: String
  private let script: @Sendable (FakeConnection, UInt64) throws -> Void

  private init(
    _ name: String, priority: String = "NORMAL",
    _ script: @escaping @Sendable (FakeConnection, UInt64) throws -> Void
  ) {
    self.name = name
    self.priority = priority
    self.script = script
  }

  /// What an honest server would have sent.
  package static let data = [UInt8](repeating: 0x5a, count: 4096)

  /// Plays a whole connection: honest up to its first request.
  package func play(_ connection: FakeConnection, exportSize: UInt64 = 1 << 20) throws {
    try connection.greet()
    var identity = try PKI.shared.get().identity
    identity.priority = priority
    try connection.acceptTLS(identity)
    var option = try connection.receiveOption()
    while option.number != Wire.Option.go {
      try connection.send(Wire.reply(to: option.number, Wire.Reply.errUnsupported))
      option = try connection.receiveOption()
    }
    try connection.send(
      Wire.reply(to: Wire.Option.go, Wire.Reply.info, Wire.exportInfo(size: exportSize))
        + Wire.reply(to: Wire.Option.go, Wire.Reply.ack))
    let request = try connection.receive(28)
    connection.fault()
    try script(connection, Wire.integer(request[8..<16]))
  }

  private static func reply(_ cookie: UInt64, error: UInt32 = 0, magic: UInt32 = 0x6744_6698)
    -> [UInt8]
  {
    Wire.be(magic) + Wire.be(error) + Wire.be(cookie)
  }

  /// All of them.
  package static let all: [TransmissionFault] = [
    TransmissionFault("a reply to nothing in flight") {
      try $0.send(reply($1 ^ 1) + data)
    },
    TransmissionFault("a reply to a slot's earlier use") {
      try $0.send(reply($1 &- (1 << 12)) + data)
    },
    TransmissionFault("a reply twice") {
      try $0.send(reply($1) + data + reply($1) + data)
    },
    TransmissionFault("a wrong magic") {
      try $0.send(reply($1, magic: 0x6744_6699) + data)
    },
    TransmissionFault("a request in place of a reply") {
      try $0.send(reply($1, magic: 0x2560_9513) + data)
    },
    TransmissionFault("an option reply in place of a reply") {
      try $0.send(Wire.reply(to: 7, 1) + data)
      _ = $1
    },
    TransmissionFault("a structured reply") {
      try $0.send(
        Wire.be(UInt32(0x668e_33ef)) + Wire.be(UInt32(0x0001_0001))
          + Wire.be($1) + Wire.be(UInt32(4104))
          + Wire.be(UInt64(0)) + data)
    },
    TransmissionFault("an error outside the list") {
      try $0.send(reply($1, error: 4711))
    },
    TransmissionFault("the largest error there is") {
      try $0.send(reply($1, error: .max))
    },
    TransmissionFault("shutting down") {
      try $0.send(reply($1, error: 108))
    },
    TransmissionFault("truncated in place of a reply") {
      $0.shutdownWrite()
      _ = $1
    },
    TransmissionFault("truncated within the header") {
      try $0.send(Array(reply($1).prefix(9)))
      $0.shutdownWrite()
    },
    TransmissionFault("truncated within the data") {
      try $0.send(reply($1) + data.prefix(1024))
      $0.shutdownWrite()
    },
    TransmissionFault("close_notify in place of a reply") {
      $0.session?.endSession()
      _ = $1
    },
    TransmissionFault("plaintext in place of a record") {
      try $0.sendRaw(reply($1) + data)
    },
    TransmissionFault("a record with a bit flipped") {
      $0.tamper = { bytes in
        var bytes = bytes
        bytes[bytes.count / 2] ^= 1
        return bytes
      }
      try $0.send(reply($1) + data)
    },
    TransmissionFault("a renegotiation request", priority: "NORMAL:-VERS-ALL:+VERS-TLS1.2") {
      try $0.session?.askRenegotiation()
      _ = $1
    },
    TransmissionFault("a record repeated") { connection, cookie in
      var kept: [UInt8] = []
      connection.tamper = { bytes in
        kept += bytes
        return bytes
      }
      try connection.send(reply(cookie) + data.prefix(1024))
      connection.tamper = nil
      try connection.sendRaw(kept)
    },
    TransmissionFault("a record left out") { connection, cookie in
      connection.cut(after: 0)
      try connection.send(reply(cookie))
      connection.tamper = nil
      try connection.send(data)
    },
    TransmissionFault("two records exchanged") { connection, cookie in
      var kept: [UInt8] = []
      connection.tamper = { bytes in
        kept = bytes
        return []
      }
      try connection.send(reply(cookie))
      connection.tamper = nil
      try connection.send(data)
      try connection.sendRaw(kept)
    },
    TransmissionFault("silence") { _, _ in },
    TransmissionFault("a byte of the header, then silence") {
      try $0.send([0x67])
      _ = $1
    },
    TransmissionFault("tickets in mid-stream") {
      try $0.send(reply($1))
      try $0.session?.sendTickets(2)
      try $0.send(data)
    },
    TransmissionFault("a key update that asks for one, in mid-stream") {
      try $0.send(reply($1) + data.prefix(100))
      try $0.session?.updateKeys(asking: true)
      try $0.send(Array(data.dropFirst(100)))
    },
    TransmissionFault("a byte in each record") {
      try $0.send(reply($1) + data, pieces: 1, pause: 0)
    },
  ]
}
