// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// Option replies inside TLS, by a server that proved who it is and lies all the same.
@Suite struct OptionFaults {
  @Test(arguments: faults) func isRefused(_ fault: Fault) throws {
    try fault.play()
  }

  private static func reply(
    _ name: String, verb: String = "info", _ words: [String], status: Int32 = 76,
    then aftermath: Fault.Aftermath = .silenceInTLS, _ bytes: [UInt8]
  ) -> Fault {
    .inTLS(name, verb: [verb], .refused(status, words), aftermath) {
      $0.fault()
      try $0.send(bytes)
    }
  }

  /// One reply again and again, for as long as the client takes it.
  private static func flood(
    _ name: String, verb: String = "info", _ words: [String], times: Int, _ bytes: [UInt8]
  ) -> Fault {
    .inTLS(name, verb: [verb], .refused(76, words)) { connection in
      connection.fault()
      let batch = [[UInt8]](repeating: bytes, count: 64).flatMap(\.self)
      // It ends when the client has had enough; then its last words are read.
      for _ in 0..<(times / 64) where (try? connection.send(batch)) == nil { break }
    }
  }

  private static func listed(_ name: [UInt8], length: UInt32? = nil) -> [UInt8] {
    Wire.reply(
      to: Wire.Option.list, Wire.Reply.server,
      Wire.be(length ?? UInt32(truncatingIfNeeded: name.count)) + name)
  }

  private static let large = [UInt8](repeating: 0x41, count: 4097)
  private static let info = Wire.Option.info
  private static let list = Wire.Option.list

  private static let refusals: [(String, UInt32)] = [
    ("NBD_REP_ERR_POLICY", Wire.Reply.errPolicy), ("NBD_REP_ERR_INVALID", Wire.Reply.errInvalid),
    ("NBD_REP_ERR_PLATFORM", Wire.Reply.errPlatform),
    ("NBD_REP_ERR_UNKNOWN", Wire.Reply.errUnknown),
    ("NBD_REP_ERR_SHUTDOWN", Wire.Reply.errShutdown),
    ("NBD_REP_ERR_BLOCK_SIZE_REQD", Wire.Reply.errBlockSizeRequired), ("error", 0x8000_1234),
  ]

  private static let refusing: [Fault] = refusals.map { name, type in
    reply(
      "NBD_OPT_INFO refused: \(name)", ["reasons of its own"], status: 69, then: .abort,
      Wire.reply(to: info, type, Array("reasons of its own".utf8)))
  }

  private static let faults: [Fault] =
    refusing + [
      reply("wrong magic", ["wrong magic"], Wire.reply(to: info, Wire.Reply.ack, magic: 1)),
      reply(
        "a transmission reply in place of an option's", ["wrong magic"],
        Wire.be(UInt32(0x6744_6698)) + [UInt8](repeating: 0, count: 16)),
      reply(
        "the answer to another option", ["NBD_OPT_LIST"], Wire.reply(to: list, Wire.Reply.ack)),
      reply(
        "TLS demanded inside TLS", ["demands TLS in a TLS session"], then: .abort,
        Wire.reply(to: info, Wire.Reply.errTLSRequired)),
      reply(
        "an ack with a payload", ["payload of 1 bytes"],
        Wire.reply(to: info, Wire.Reply.ack, [0])),
      reply(
        "an unknown reply type", ["unexpected"], Wire.reply(to: info, 5, [0, 0])),
      reply(
        "an error text of 4 GiB", ["4294967295 bytes", "too long"],
        Wire.reply(to: info, Wire.Reply.errUnknown, large, length: .max)),
      reply(
        "an error text over the limit", ["4097 bytes", "too long"],
        Wire.reply(to: info, Wire.Reply.errUnknown, large)),
      reply(
        "information of 2^32 - 1 bytes", ["4294967295 bytes", "too long"],
        Wire.reply(to: info, Wire.Reply.info, large, length: .max)),
      reply(
        "an ack of 2^32 - 1 bytes", ["payload of 4294967295 bytes"],
        Wire.reply(to: info, Wire.Reply.ack, large, length: .max)),
      reply(
        "a listed export of 2^32 - 1 bytes", verb: "list", ["4294967295 bytes", "too long"],
        Wire.reply(to: list, Wire.Reply.server, large, length: .max)),
      reply(
        "a listed name longer than its entry", verb: "list", ["longer than its entry"],
        listed([0x61, 0x62], length: 3)),
      reply(
        "a listed name of 2^32 - 1 bytes in a short entry", verb: "list",
        ["longer than its entry"], listed([0x61, 0x62], length: .max)),
      reply(
        "a listed name of 2^31 bytes in a short entry", verb: "list",
        ["longer than its entry"], listed([0x61, 0x62], length: 1 << 31)),
      reply(
        "a listed entry without room for its length", verb: "list", ["too short"],
        Wire.reply(to: list, Wire.Reply.server, [0, 0, 0])),
      reply("a listed name over the limit", verb: "list", ["too long"], listed(large)),
      reply(
        "a listed description over the limit", verb: "list", ["too long"],
        Wire.reply(to: list, Wire.Reply.server, Wire.be(UInt32(1)) + [0x61] + large)),
      flood(
        "a list of a million exports", verb: "list", ["more than"], times: 1_000_000, listed([0x61])
      ),
      flood(
        "a list of long names without end", verb: "list", ["longer than"], times: 100_000,
        listed([UInt8](repeating: 0x61, count: 4096))),
      flood(
        "information without end", ["more than"], times: 1_000_000,
        Wire.reply(to: info, Wire.Reply.info, Wire.exportInfo(size: 1 << 20))),
      flood(
        "unknown information without end", ["more than"], times: 1_000_000,
        Wire.reply(to: info, Wire.Reply.info, Wire.be(UInt16(4711)))),
      .inTLS("NBD_OPT_INFO unsupported, then a list without end", .refused(76, ["more than"])) {
        try $0.send(Wire.reply(to: info, Wire.Reply.errUnsupported))
        try $0.expect(list)
        $0.fault()
        let batch = [[UInt8]](repeating: listed([0x61]), count: 64).flatMap(\.self)
        for _ in 0..<10_000 where (try? $0.send(batch)) == nil { break }
      },
    ]
}

/// What a server says of an export.
@Suite struct ExportFaults {
  @Test(arguments: faults) func isRefused(_ fault: Fault) throws {
    try fault.play()
  }

  @Test(arguments: oddities) func isHarmless(_ fault: Fault) throws {
    try fault.play()
  }

  private static let info = Wire.Option.info
  private static let ack = Wire.reply(to: info, Wire.Reply.ack)

  private static func information(_ payload: [UInt8]) -> [UInt8] {
    Wire.reply(to: info, Wire.Reply.info, payload)
  }

  private static func export(_ size: UInt64 = 1 << 20, flags: UInt16 = 1) -> [UInt8] {
    information(Wire.exportInfo(size: size, flags: flags))
  }

  private static func blocks(_ minimum: UInt32, _ preferred: UInt32, _ maximum: UInt32) -> [UInt8] {
    information(Wire.blockSizeInfo(minimum: minimum, preferred: preferred, maximum: maximum))
  }

  private static func refused(
    _ name: String, _ words: [String], _ bytes: [UInt8]
  ) -> Fault {
    .inTLS(name, .refused(76, words)) {
      $0.fault()
      try $0.send(bytes)
    }
  }

  private static func accepted(_ name: String, _ words: [String], _ bytes: [UInt8]) -> Fault {
    .inTLS(name, verb: ["info", "--json"], .accepted(words), .abort) {
      $0.fault()
      try $0.send(bytes)
    }
  }

  private static let faults: [Fault] = [
    refused("no information at all", ["without NBD_INFO_EXPORT"], ack),
    refused("no size", ["without NBD_INFO_EXPORT"], blocks(512, 4096, 1 << 20) + ack),
    refused("information without a type", ["too short"], information([0])),
    refused("information of no bytes", ["too short"], information([])),
    refused(
      "a size cut short", ["11 bytes where 12"], information([UInt8](repeating: 0, count: 11))),
    refused(
      "a size too long", ["13 bytes where 12"], information([UInt8](repeating: 0, count: 13))),
    refused("block sizes cut short", ["NBD_INFO_BLOCK_SIZE"], information([0, 3, 0, 0, 2, 0])),
    refused(
      "block sizes too long", ["NBD_INFO_BLOCK_SIZE"],
      information(Wire.blockSizeInfo(minimum: 1, preferred: 512, maximum: 512) + [0])),
    refused(
      "a name over the limit", ["NBD_INFO_NAME", "too long"],
      information([0, 1] + [UInt8](repeating: 0x41, count: 4097))),
    refused(
      "a description over the limit", ["NBD_INFO_DESCRIPTION", "too long"],
      information([0, 2] + [UInt8](repeating: 0x41, count: 4097))),
    refused("two sizes", ["two different NBD_INFO_EXPORT"], export() + export(1 << 21) + ack),
    refused("two sets of flags", ["two different"], export() + export(flags: 3) + ack),
    refused(
      "two sets of block sizes", ["two different NBD_INFO_BLOCK_SIZE"],
      blocks(512, 4096, 1 << 20) + blocks(1, 4096, 1 << 20) + export() + ack),
    refused(
      "two names", ["two different NBD_INFO_NAME"],
      information([0, 1, 0x61]) + information([0, 1, 0x62]) + export() + ack),
    refused("size 2^63", ["9223372036854775808", "2^63"], export(1 << 63) + ack),
    refused("size 2^64 - 1", ["18446744073709551615", "2^63"], export(.max) + ack),
    refused("block sizes of zero", ["minimum block size 0"], blocks(0, 0, 0)),
    refused(
      "a minimum that is no power of two", ["minimum block size 513"],
      blocks(513, 4096, 1 << 20)),
    refused(
      "a minimum over 64 KiB", ["minimum block size 131072"],
      blocks(1 << 17, 1 << 17, 1 << 20)),
    refused("a minimum of 2^31", ["minimum block size 2147483648"], blocks(1 << 31, 1 << 31, .max)),
    refused(
      "a preferred size that is no power of two", ["preferred block size 5000"],
      blocks(512, 5000, 1 << 20)),
    refused("a preferred size of zero", ["preferred block size 0"], blocks(1, 0, 1 << 20)),
    refused(
      "a minimum over the preferred size", ["preferred block size 512"],
      blocks(4096, 512, 1 << 20)),
    refused("a minimum over the maximum", ["maximum payload size 512"], blocks(4096, 4096, 512)),
    refused("a maximum of zero", ["maximum payload size 0"], blocks(512, 4096, 0)),
  ]

  private static let oddities: [Fault] = [
    accepted("the same information twice", ["1048576"], export() + export() + ack),
    accepted(
      "information out of order", ["1048576", "4096"],
      blocks(512, 4096, 1 << 20) + export() + information([0, 1, 0x61]) + ack),
    accepted("unknown information", ["1048576"], information([0x12, 0x34, 1]) + export() + ack),
    accepted("size 0", ["\"size\""], export(0) + ack),
    accepted("size 2^63 - 1", ["9223372036854775807"], export(UInt64.max >> 1) + ack),
    accepted(
      "a size that is no multiple of the block size", ["1048577"],
      blocks(512, 4096, 1 << 20) + export((1 << 20) + 1) + ack),
    accepted("every flag set", ["1048576"], export(flags: .max) + ack),
    accepted(
      "text that is not UTF-8", ["1048576"], export() + information([0, 2, 0xff, 0xfe]) + ack),
  ]
}
