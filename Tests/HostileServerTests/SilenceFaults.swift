// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// Servers that say nothing, or next to nothing: `--connect-timeout` bounds all of it.
@Suite struct SilenceFaults {
  @Test(arguments: faults) func isGivenUp(_ fault: Fault) throws {
    var fault = fault
    // Two seconds, and what a busy machine needs to start the program.
    fault.limit = 8
    try fault.play()
  }

  private static let late = Fault.Ending.refused(75, [])

  /// A byte a second for as long as the client listens.
  private static func trickle(_ connection: FakeConnection, _ bytes: [UInt8]) {
    try? connection.send(bytes, pieces: 1, pause: 1)
  }

  private static let exportReply =
    Wire.reply(to: Wire.Option.info, Wire.Reply.info, Wire.exportInfo(size: 1 << 20))

  private static let faults: [Fault] = [
    .raw("silence before the greeting", connectTimeout: 2, late) { $0.fault() },
    .raw("silence within the greeting", connectTimeout: 2, late) {
      $0.fault()
      try $0.send(Array(Wire.greeting().prefix(17)))
    },
    .raw("a greeting of a byte a second", connectTimeout: 2, late) {
      $0.fault()
      trickle($0, Wire.greeting())
    },
    .startTLS("silence after STARTTLS", connectTimeout: 2, late) { $0.fault() },
    .startTLS("silence within the ack", connectTimeout: 2, late) {
      $0.fault()
      try $0.send(Array(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack).prefix(19)))
    },
    .startTLS("silence in a refusal's text", connectTimeout: 2, late) {
      $0.fault()
      try $0.send(
        Wire.reply(to: Wire.Option.startTLS, Wire.Reply.errPolicy, [0x41], length: 1000))
    },
    .startTLS("silence after the ack, in the handshake", connectTimeout: 2, late, .alerts) {
      try $0.send(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack))
      let header = try $0.receive(5)
      try $0.receive(Int(header[3]) << 8 | Int(header[4]))
      $0.fault()
    },
    .startTLS("silence within the server's hello", connectTimeout: 2, late, .handshake) {
      try $0.send(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack))
      $0.cut(after: 60)
      $0.fault()
      $0.patience = 1
      try? $0.startTLS(PKI.shared.get().identity)
      $0.patience = 15
    },
    .startTLS("a handshake of a byte a second", connectTimeout: 2, late, .alerts) {
      try $0.send(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack))
      let header = try $0.receive(5)
      try $0.receive(Int(header[3]) << 8 | Int(header[4]))
      $0.fault()
      trickle($0, [0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3])
    },
    .inTLS("silence after NBD_OPT_INFO", connectTimeout: 2, late) { $0.fault() },
    .inTLS("silence after NBD_OPT_LIST", verb: ["list"], connectTimeout: 2, late) { $0.fault() },
    .inTLS("silence within a reply's header", connectTimeout: 2, late) {
      $0.fault()
      try $0.send(Array(exportReply.prefix(7)))
    },
    .inTLS("silence within a reply's payload", connectTimeout: 2, late) {
      $0.fault()
      try $0.send(Array(exportReply.dropLast()))
    },
    .inTLS("silence before the last reply", connectTimeout: 2, late) {
      $0.fault()
      try $0.send(exportReply)
    },
    .inTLS("silence within a listing", verb: ["list"], connectTimeout: 2, late) {
      $0.fault()
      try $0.send(
        Wire.reply(to: Wire.Option.list, Wire.Reply.server, Wire.be(UInt32(1)) + [0x61]))
    },
    .inTLS("option replies of a byte a second", connectTimeout: 2, late) {
      $0.fault()
      trickle($0, exportReply)
    },
    .inTLS("records without data for ever", connectTimeout: 2, late) { connection in
      connection.fault()
      // A record of no data each; the deadline holds for those too.
      for _ in 0..<1000 {
        guard (try? connection.session?.sendEmptyRecord()) != nil else { break }
        connection.pause(0.01)
      }
    },
  ]
}
