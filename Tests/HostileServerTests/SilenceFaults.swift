// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// Servers that say nothing, or next to nothing: `--connect-timeout` bounds all of it.
@Suite struct SilenceFaults {
  @Test(arguments: faults) func isGivenUp(_ fault: Fault) throws {
    var fault = fault
    // Two seconds, and what a busy machine needs to start the program; with the harness's patience
    // still less than the time limit that holds unless told otherwise (30 s), which would end the same.
    fault.limit = 5
    try fault.play(attempts: 5)
  }

  private static func late(_ awaited: String) -> Fault.Ending { .refused(75, [awaited]) }
  private static let greeting = "timed out: no greeting"
  private static let handshake = "did not finish the TLS handshake"

  /// A copy asks for more than `info` does, option by option.
  private static func copying(
    _ name: String, _ awaited: String, _ script: @escaping FakeServer.Script
  ) -> Fault {
    .inTLS(
      name, verb: ["copy", "--to", "-"], connectTimeout: 2, late(awaited), .silenceInTLS, script)
  }

  private static func unsupported(_ option: UInt32) -> [UInt8] {
    Wire.reply(to: option, Wire.Reply.errUnsupported)
  }

  /// A byte a second for as long as the client listens.
  private static func trickle(_ connection: FakeConnection, _ bytes: [UInt8]) {
    try? connection.send(bytes, pieces: 1, pause: 1)
  }

  private static let exportReply =
    Wire.reply(to: Wire.Option.info, Wire.Reply.info, Wire.exportInfo(size: 1 << 20))

  private static let faults: [Fault] = [
    .raw("silence before the greeting", connectTimeout: 2, late(greeting)) { $0.fault() },
    .raw("silence within the greeting", connectTimeout: 2, late(greeting)) {
      $0.fault()
      try $0.send(Array(Wire.greeting().prefix(17)))
    },
    .raw("a greeting of a byte a second", connectTimeout: 2, late(greeting)) {
      $0.fault()
      trickle($0, Wire.greeting())
    },
    .startTLS("silence after STARTTLS", connectTimeout: 2, late("no answer to NBD_OPT_STARTTLS")) {
      $0.fault()
    },
    .startTLS("silence within the ack", connectTimeout: 2, late("no answer to NBD_OPT_STARTTLS")) {
      $0.fault()
      try $0.send(Array(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack).prefix(19)))
    },
    .startTLS(
      "silence in a refusal's text", connectTimeout: 2,
      late("no end of the answer to NBD_OPT_STARTTLS")
    ) {
      $0.fault()
      try $0.send(
        Wire.reply(to: Wire.Option.startTLS, Wire.Reply.errPolicy, [0x41], length: 1000))
    },
    .startTLS(
      "silence after the ack, in the handshake", connectTimeout: 2, late(handshake), .alerts
    ) {
      try $0.send(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack))
      let header = try $0.receive(5)
      try $0.receive(Int(header[3]) << 8 | Int(header[4]))
      $0.fault()
    },
    .startTLS("silence within the server's hello", connectTimeout: 2, late(handshake), .handshake) {
      try $0.send(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack))
      $0.cut(after: 60)
      $0.fault()
      $0.startTLSInVain(for: 1)
    },
    .startTLS("a handshake of a byte a second", connectTimeout: 2, late(handshake), .alerts) {
      try $0.send(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack))
      let header = try $0.receive(5)
      try $0.receive(Int(header[3]) << 8 | Int(header[4]))
      $0.fault()
      trickle($0, [0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3])
    },
    .inTLS("silence after NBD_OPT_INFO", connectTimeout: 2, late("did not answer in time")) {
      $0.fault()
    },
    .inTLS(
      "silence after NBD_OPT_LIST", verb: ["list"], connectTimeout: 2,
      late("did not answer in time")
    ) { $0.fault() },
    copying("silence after NBD_OPT_STRUCTURED_REPLY", "did not answer in time") { $0.fault() },
    copying("silence after NBD_OPT_SET_META_CONTEXT", "did not answer in time") {
      try $0.send(Wire.reply(to: Wire.Option.structuredReply, Wire.Reply.ack))
      try $0.expect(Wire.Option.setMetaContext)
      $0.fault()
    },
    copying("silence after NBD_OPT_GO", "did not answer in time") {
      try $0.send(unsupported(Wire.Option.structuredReply))
      try $0.expect(Wire.Option.go)
      $0.fault()
    },
    copying("silence after NBD_OPT_EXPORT_NAME", "did not answer in time") {
      try $0.send(unsupported(Wire.Option.structuredReply))
      try $0.expect(Wire.Option.go)
      try $0.send(unsupported(Wire.Option.go))
      try $0.expect(Wire.Option.list)
      try $0.send(
        Wire.reply(to: Wire.Option.list, Wire.Reply.server, Wire.be(UInt32(0)))
          + Wire.reply(to: Wire.Option.list, Wire.Reply.ack))
      try $0.expect(Wire.Option.exportName)
      $0.fault()
    },
    .inTLS("silence within a reply's header", connectTimeout: 2, late("did not answer in time")) {
      $0.fault()
      try $0.send(Array(exportReply.prefix(7)))
    },
    .inTLS("silence within a reply's payload", connectTimeout: 2, late("did not answer in time")) {
      $0.fault()
      try $0.send(Array(exportReply.dropLast()))
    },
    .inTLS("silence before the last reply", connectTimeout: 2, late("did not answer in time")) {
      $0.fault()
      try $0.send(exportReply)
    },
    .inTLS(
      "silence within a listing", verb: ["list"], connectTimeout: 2, late("did not answer in time")
    ) {
      $0.fault()
      try $0.send(
        Wire.reply(to: Wire.Option.list, Wire.Reply.server, Wire.be(UInt32(1)) + [0x61]))
    },
    .inTLS("option replies of a byte a second", connectTimeout: 2, late("did not answer in time")) {
      $0.fault()
      trickle($0, exportReply)
    },
    .inTLS("records without data for ever", connectTimeout: 2, late("did not answer in time")) {
      connection in
      connection.fault()
      // A record of no data each; the deadline holds for those too.
      for _ in 0..<1000 {
        guard (try? connection.session?.sendEmptyRecord()) != nil else { break }
        connection.pause(0.01)
      }
    },
  ]
}
