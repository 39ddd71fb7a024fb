// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// TLS that ends early, begins anew, or is no TLS.
@Suite struct TLSFaults {
  @Test(arguments: faults) func isRefused(_ fault: Fault) throws {
    try fault.play()
  }

  @Test(arguments: oddities) func isHarmless(_ fault: Fault) throws {
    try fault.play()
  }

  private static let ack = Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack)
  private static let exportReply = Wire.reply(
    to: Wire.Option.info, Wire.Reply.info, Wire.exportInfo(size: 1 << 20))
  private static let end = Wire.reply(to: Wire.Option.info, Wire.Reply.ack)

  /// A handshake of which the client gets only so many bytes.
  private static func cutHandshake(_ bytes: Int) -> Fault {
    .startTLS(
      "handshake cut after \(bytes) bytes", .refused(76, ["TLS handshake"]), .handshake
    ) {
      try $0.send(ack)
      $0.fault()
      $0.cut(after: bytes)
      $0.startTLSInVain(for: 0.5)
      $0.shutdownWrite()
    }
  }

  /// Garbage in place of the server's hello.
  private static func noTLS(_ name: String, _ bytes: [UInt8]) -> Fault {
    .startTLS(name, .refused(76, ["TLS"]), .alerts) {
      try $0.send(ack)
      let header = try $0.receive(5)
      try $0.receive(Int(header[3]) << 8 | Int(header[4]))
      $0.fault()
      try $0.send(bytes)
      $0.shutdownWrite()
    }
  }

  /// The stream ends without close_notify after these bytes of a reply.
  private static func truncated(_ name: String, _ bytes: [UInt8]) -> Fault {
    .inTLS("truncated \(name)", .refused(76, ["without a TLS close_notify"])) {
      $0.fault()
      try $0.send(bytes)
      $0.shutdownWrite()
    }
  }

  private static let cuts: [Fault] = [0, 1, 4, 5, 60, 200, 600].map(cutHandshake)

  private static let faults: [Fault] =
    cuts + [
      noTLS("plaintext in the handshake", exportReply + end),
      noTLS("a hello of SSL 2", [0x80, 0x2e, 1, 0, 2] + [UInt8](repeating: 0, count: 60)),
      noTLS("a record of no bytes", [0x16, 3, 3, 0, 0]),
      noTLS(
        "a record of 2^16 - 1 bytes",
        [0x16, 3, 3, 0xff, 0xff] + [UInt8](repeating: 2, count: 65535)),
      noTLS("application data before the hello", [0x17, 3, 3, 0, 1, 0]),
      .startTLS("an alert in place of the hello", .refused(77, ["alert"]), .alerts) {
        try $0.send(ack)
        let header = try $0.receive(5)
        try $0.receive(Int(header[3]) << 8 | Int(header[4]))
        $0.fault()
        try $0.send([0x15, 3, 3, 0, 2, 2, 80])
        $0.shutdownWrite()
      },
      .startTLS("warnings without end in place of the hello", .refused(77, ["alert"]), .alerts) {
        try $0.send(ack)
        let header = try $0.receive(5)
        try $0.receive(Int(header[3]) << 8 | Int(header[4]))
        $0.fault()
        for _ in 0..<100_000 where (try? $0.send([0x15, 3, 3, 0, 2, 1, 90])) == nil { break }
      },
      truncated("before any reply", []),
      truncated("within a reply's header", Array(exportReply.prefix(11))),
      truncated("within a reply's payload", Array(exportReply.dropLast())),
      truncated("between two replies", exportReply),
      .inTLS(
        "close_notify in place of a reply",
        .refused(76, ["closed the connection instead of answering NBD_OPT_INFO"])
      ) {
        $0.fault()
        $0.session?.endSession()
      },
      .inTLS("a fatal alert in place of a reply", .refused(69, ["alert"]), .anything) {
        $0.fault()
        $0.session?.alert(number: 80, fatal: true)
      },
      .inTLS("a reset in place of a reply", .refused(76, ["without a TLS close_notify"]), .anything)
      {
        $0.fault()
        $0.reset()
      }.endedByServer,
      .inTLS("plaintext inside the session", .refused(76, ["record"]), .alerts) {
        $0.fault()
        try $0.sendRaw(exportReply + end)
      },
      .inTLS("a record that nobody encrypted", .refused(76, ["record"]), .alerts) {
        $0.fault()
        try $0.sendRaw([0x17, 3, 3, 0, 64] + [UInt8](repeating: 0x5a, count: 64))
      },
      .inTLS("a record repeated", .refused(76, ["record"]), .alerts) { connection in
        var kept: [UInt8] = []
        connection.tamper = { bytes in
          kept += bytes
          return bytes
        }
        try connection.send(exportReply)
        connection.tamper = nil
        connection.fault()
        try connection.sendRaw(kept)
      },
      .inTLS("a record left out", .refused(76, ["record"]), .alerts) { connection in
        connection.cut(after: 0)
        try connection.send(exportReply)
        connection.tamper = nil
        connection.fault()
        try connection.send(exportReply + end)
      },
      .inTLS("two records exchanged", .refused(76, ["record"]), .alerts) { connection in
        var kept: [UInt8] = []
        connection.tamper = { bytes in
          kept = bytes
          return []
        }
        try connection.send(exportReply)
        connection.tamper = nil
        connection.fault()
        try connection.send(end)
        try connection.sendRaw(kept)
      },
      .inTLS(
        "a renegotiation request", priority: onlyTLS12, .refused(76, ["renegotiation"]),
        .silenceInTLS
      ) {
        $0.fault()
        try $0.session?.askRenegotiation()
      },
      .inTLS("key updates without end", .refused(76, ["record"])) { connection in
        connection.fault()
        for _ in 0..<1000 {
          guard (try? connection.session?.updateKeys(asking: false)) != nil else { break }
        }
      },
    ]

  private static let oddities: [Fault] = [
    .inTLS("tickets in mid-stream", .accepted(["1048576 bytes"]), .abort) {
      $0.fault()
      try $0.session?.sendTickets(2)
      try $0.send(exportReply)
      try $0.session?.sendTickets(1)
      try $0.send(end)
    },
    .inTLS("a key update in mid-stream", .accepted(["1048576 bytes"]), .abort) {
      $0.fault()
      try $0.send(Array(exportReply.prefix(3)))
      try $0.session?.updateKeys(asking: false)
      try $0.send(Array(exportReply.dropFirst(3)) + end)
    },
    .inTLS("a key update that asks for one", .accepted(["1048576 bytes"]), .abort) {
      $0.fault()
      try $0.send(exportReply)
      try $0.session?.updateKeys(asking: true)
      try $0.send(end)
    },
    .inTLS("a warning alert, TLS 1.2", priority: onlyTLS12, .accepted(["1048576 bytes"]), .abort) {
      $0.fault()
      $0.session?.alert(number: 90, fatal: false)
      try $0.send(exportReply + end)
    },
    .inTLS("replies of a byte in each record", .accepted(["1048576 bytes"]), .abort) {
      $0.fault()
      try $0.send(exportReply + end, pieces: 1, pause: 0)
    },
  ]
}
