// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// Before TLS: greetings that are none, and servers that will not encrypt.
@Suite struct GreetingFaults {
  @Test(arguments: faults) func isRefused(_ fault: Fault) throws {
    try fault.play()
  }

  private static let cuts: [Fault] = (0..<18).map { length in
    .raw("greeting cut after \(length) bytes", .refused(76, ["closed the connection"])) {
      $0.fault()
      try $0.send(Array(Wire.greeting().prefix(length)))
      $0.shutdownWrite()
    }
  }

  private static let faults: [Fault] =
    cuts + [
      .raw("greeting cut by a reset", .refused(76, ["closed the connection"])) {
        try $0.send(Array(Wire.greeting().prefix(9)))
        $0.fault()
        // Whoever still connects would hear of the reset instead.
        $0.pause(6)
        $0.reset()
      }.endedByServer,
      .raw("another protocol's greeting", .refused(76, ["not an NBD server", "SSH-2.0"])) {
        $0.fault()
        try $0.send(Array("SSH-2.0-OpenSSH_9.2p1\r\n".utf8))
      },
      .raw("control characters in the greeting", .refused(76, ["not an NBD server"])) {
        $0.fault()
        try $0.send([0x1b, 0x5b, 0x32, 0x4a, 0x0a, 0x0d, 0x00, 0x9b] + Wire.greeting())
      },
      .raw("wrong second magic", .refused(76, ["not an NBD server"])) {
        $0.fault()
        try $0.send(
          Wire.be(Wire.initialMagic) + Wire.be(Wire.optionReplyMagic) + Wire.be(UInt16(3)))
      },
      .raw("a TLS record in place of the greeting", .refused(76, ["not an NBD server"])) {
        $0.fault()
        try $0.send([0x15, 3, 3, 0, 2, 2, 40] + [UInt8](repeating: 0, count: 11))
      },
      .raw("oldstyle", .refused(78, ["TLS", "oldstyle"])) {
        $0.fault()
        try $0.send(Wire.oldstyleGreeting(size: 1 << 20))
      },
      .raw("newstyle, not fixed", .refused(78, ["TLS", "fixed newstyle"])) {
        $0.fault()
        try $0.send(Wire.greeting(flags: 0))
      },
      .raw("newstyle, not fixed, without zeroes", .refused(78, ["TLS", "fixed newstyle"])) {
        $0.fault()
        try $0.send(Wire.greeting(flags: 2))
      },
      .raw(
        "oldstyle, plaintext allowed, credentials given",
        security: ["--allow-plaintext", "--tls-creds", "PKI:trust"], .refused(78, ["oldstyle"])
      ) {
        $0.fault()
        try $0.send(Wire.oldstyleGreeting(size: 1 << 20))
      },
      .raw(
        "oldstyle, plaintext allowed, size 2^64 - 1", security: ["--allow-plaintext"],
        .refused(76, ["2^63"])
      ) {
        $0.fault()
        try $0.send(Wire.oldstyleGreeting(size: .max))
      },
      .raw(
        "oldstyle, plaintext allowed, handshake flags in the export's",
        security: ["--allow-plaintext"], .refused(76, ["flags"])
      ) {
        $0.fault()
        try $0.send(Wire.oldstyleGreeting(size: 1 << 20, flags: 0x0003_0001))
      },
    ]
}

/// The answer to STARTTLS, the last plaintext that is read.
@Suite struct StartTLSFaults {
  @Test(arguments: faults) func isRefused(_ fault: Fault) throws {
    try fault.play()
  }

  private static let ack = Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack)
  /// What an attacker would like the client to believe of the options to come.
  private static let injected =
    Wire.reply(to: Wire.Option.structuredReply, Wire.Reply.ack)
    + Wire.reply(
      to: Wire.Option.info, Wire.Reply.info, Wire.exportInfo(size: 1 << 30))
    + Wire.reply(to: Wire.Option.info, Wire.Reply.ack)

  private static func reply(
    _ name: String, _ status: Int32, _ words: [String], _ bytes: [UInt8]
  ) -> Fault {
    .startTLS(name, .refused(status, words)) {
      $0.fault()
      try $0.send(bytes)
    }
  }

  private static let refusals: [(String, UInt32)] = [
    ("UNSUP", Wire.Reply.errUnsupported), ("POLICY", Wire.Reply.errPolicy),
    ("INVALID", Wire.Reply.errInvalid), ("PLATFORM", Wire.Reply.errPlatform),
    ("TLS_REQD", Wire.Reply.errTLSRequired), ("UNKNOWN", Wire.Reply.errUnknown),
    ("SHUTDOWN", Wire.Reply.errShutdown), ("BLOCK_SIZE_REQD", Wire.Reply.errBlockSizeRequired),
    ("an error of no list", 0x8000_1234), ("the last error there is", 0xffff_ffff),
  ]

  private static let refusing: [Fault] = refusals.map { name, type in
    reply(
      "STARTTLS refused: \(name)", 78, ["refuses TLS", "not today"],
      Wire.reply(to: Wire.Option.startTLS, type, Array("not today".utf8)))
  }

  private static let cuts: [Fault] = (0..<20).map { length in
    .startTLS("ack cut after \(length) bytes", .refused(76, ["closed the connection"])) {
      $0.fault()
      try $0.send(Array(ack.prefix(length)))
      $0.shutdownWrite()
    }
  }

  private static let faults: [Fault] =
    refusing + cuts + [
      reply("plaintext behind the ack, one byte", 76, ["plaintext follows"], ack + [0]),
      reply(
        "option replies behind the ack, in one segment", 76, ["plaintext follows"], ack + injected),
      reply(
        "option replies before the ack", 76, ["NBD_OPT_STRUCTURED_REPLY"], injected + ack),
      .startTLS(
        "option replies behind the ack, in a second segment",
        .refused(76, ["handshake makes no sense"]), .alerts
      ) {
        try $0.send(ack)
        // The client is in the handshake, its hello is here.
        let header = try $0.receive(5)
        try $0.receive(Int(header[3]) << 8 | Int(header[4]))
        $0.fault()
        try $0.send(injected)
      },
      .startTLS(
        "option replies behind the ack, then an honest handshake",
        .refused(76, ["plaintext follows"])
      ) {
        $0.fault()
        try $0.send(ack + injected)
        try $0.startTLS(PKI.shared.get().identity)
      },
      reply(
        "ack for another option", 76, ["NBD_OPT_GO", "when asked NBD_OPT_STARTTLS"],
        Wire.reply(to: Wire.Option.go, Wire.Reply.ack)),
      reply(
        "ack for an unknown option", 76, ["option 4711"], Wire.reply(to: 4711, Wire.Reply.ack)),
      reply(
        "ack with a payload", 76, ["payload of 4 bytes"],
        Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack, [1, 2, 3, 4])),
      reply(
        "ack with a payload of 2^32 - 1 bytes", 76, ["payload of 4294967295 bytes"],
        Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack, length: .max)),
      reply(
        "ack with a wrong magic", 76, ["wrong magic"],
        Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack, magic: Wire.optionMagic)),
      reply(
        "ack with a structured reply's magic", 76, ["wrong magic"],
        Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack, magic: 0x668e_33ef_0000_0000)),
      reply(
        "an export in place of the ack", 76, ["unexpected NBD_REP_INFO"],
        Wire.reply(to: Wire.Option.startTLS, Wire.Reply.info, Wire.exportInfo(size: 1 << 20))),
      reply(
        "a reply type of no list", 76, ["unexpected"], Wire.reply(to: Wire.Option.startTLS, 77)),
      reply(
        "a refusal of 2^32 - 1 bytes", 76, ["4294967295 bytes", "too long"],
        Wire.reply(to: Wire.Option.startTLS, Wire.Reply.errPolicy, length: .max)
          + [UInt8](repeating: 0x41, count: 65536)),
      reply(
        "a refusal with control characters", 78, ["refuses TLS"],
        Wire.reply(
          to: Wire.Option.startTLS, Wire.Reply.errPolicy, Array("\u{1b}[2J\u{1b}[H\r\nroot#".utf8))),
      .startTLS("a reset in place of the ack", .refused(76, ["closed the connection"])) {
        $0.fault()
        $0.reset()
      }.endedByServer,
    ]
}
