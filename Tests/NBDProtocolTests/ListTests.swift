// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

@Suite struct ListTests {
  static func list(_ replies: [UInt8], limits: Limits = .default) -> Conversation {
    Conversation(.list, limits: limits, Wire.newstyle() + replies)
  }

  static let end = Wire.reply(Wire.list, Wire.ack)

  @Test func namesAndDescriptions() {
    let run = Self.list(
      Wire.listed("a", "first") + Wire.listed("") + Wire.listed("é/ü") + Wire.listed("a") + Self.end
    )
    #expect(
      run.verdict
        == .listing([
          ExportListing(name: "a", description: "first"), ExportListing(name: ""),
          ExportListing(name: "é/ü"), ExportListing(name: "a"),
        ]))
    #expect(run.sent == Wire.u32(3) + Wire.option(Wire.list))
    #expect(run.machine.farewell == Wire.option(Wire.abort))
    #expect(run.unread == 0)
  }

  @Test func noExports() {
    #expect(Self.list(Self.end).verdict == .listing([]))
  }

  @Test func namesThatAreNotUTF8AreRepaired() {
    let run = Self.list(
      Wire.reply(Wire.list, Wire.server, Wire.u32(2) + [0x61, 0xff, 0xfe]) + Self.end)
    #expect(run.verdict == .listing([ExportListing(name: "a\u{fffd}", description: "\u{fffd}")]))
  }

  @Test(
    arguments: [
      (2, "b"), (100, "b"), (.max, "b"), (0x8000_0000, ""), (1, ""),
    ] as [(UInt32, String)])
  func innerLengthExceedsOuter(_ length: UInt32, _ text: String) {
    let run = Self.list(
      Wire.reply(Wire.list, Wire.server, Wire.u32(length) + Wire.text(text)) + Self.end)
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.machine.farewell == nil)
  }

  @Test(arguments: 0..<4) func entryTooShort(_ length: Int) {
    let run = Self.list(
      Wire.reply(Wire.list, Wire.server, [UInt8](repeating: 0, count: length)) + Self.end)
    #expect(run.error?.kind == .protocolViolation)
  }

  @Test func endMarkWithPayload() {
    for length: UInt32 in [1, 20, .max] {
      let run = Self.list(
        Wire.listed("a") + Wire.header(Wire.list, Wire.ack, length: length) + [0])
      #expect(run.error?.kind == .protocolViolation)
      #expect(run.unread == 1)
    }
  }

  @Test(arguments: [Wire.repInfo, 0, 4, 5, 0x7fff_ffff]) func unexpectedReply(_ type: UInt32) {
    let run = Self.list(Wire.reply(Wire.list, type, [0, 0, 0, 0]) + Self.end)
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.error?.message.contains("unexpected") == true)
  }

  @Test func replyToAnotherOption() {
    for option: UInt32 in [Wire.go, Wire.startTLS, 0, 99] {
      let run = Self.list(Wire.reply(option, Wire.ack))
      #expect(run.error?.kind == .protocolViolation)
    }
    #expect(Self.list(Wire.reply(99, Wire.ack)).error?.message.contains("option 99") == true)
  }

  @Test func replyMagicWrong() {
    for index in 0..<8 {
      var reply = Self.end
      reply[index] ^= 0x80
      #expect(Self.list(reply).error?.kind == .protocolViolation)
    }
  }

  @Test func closedAtEveryByte() {
    let replies = Wire.listed("abc", "d") + Self.end
    for length in 0..<replies.count {
      let run = Self.list(Array(replies.prefix(length)))
      #expect(run.error?.kind == .closed)
      #expect(run.error?.message.contains("NBD_OPT_LIST") == true)
    }
  }

  // MARK: Limits

  @Test func longestNameAndDescription() {
    let long = String(repeating: "n", count: 4096)
    #expect(
      Self.list(Wire.listed(long, long) + Self.end).verdict
        == .listing([ExportListing(name: long, description: long)]))
    #expect(Self.list(Wire.listed(long + "n") + Self.end).error?.kind == .limitExceeded)
    #expect(Self.list(Wire.listed("n", long + "n") + Self.end).error?.kind == .limitExceeded)
  }

  @Test(arguments: [8197, 1 << 20, 1 << 31, .max] as [UInt32])
  func longEntriesAreNeverRead(_ length: UInt32) {
    let run = Self.list(Wire.header(Wire.list, Wire.server, length: length) + [1, 2, 3])
    #expect(run.error?.kind == .limitExceeded)
    #expect(run.unread == 3)
  }

  @Test func entriesAreCounted() {
    var limits = Limits()
    limits.listings = 3
    let three = Wire.listed("a") + Wire.listed("b") + Wire.listed("c")
    #expect(Self.list(three + Self.end, limits: limits).verdict != nil)
    let run = Self.list(three + Wire.listed("d") + Self.end, limits: limits)
    #expect(run.error?.kind == .limitExceeded)
    #expect(run.error?.message == "the server lists more than 3 exports")
  }

  @Test func bytesAreCounted() {
    var limits = Limits()
    limits.listingBytes = 12
    #expect(
      Self.list(Wire.listed("ab") + Wire.listed("cd") + Self.end, limits: limits).error == nil)
    let run = Self.list(Wire.listed("ab") + Wire.listed("cde") + Self.end, limits: limits)
    #expect(run.error?.kind == .limitExceeded)
  }

  @Test func aMillionExports() {
    var machine = Negotiation(goal: .list, security: .plaintext)
    var error: NegotiationError?
    var entries = 0
    let header = Wire.header(Wire.list, Wire.server, length: 6)
    let greeting = [Wire.text("NBDMAGIC"), Wire.text("IHAVEOPT"), [0, 3]]
    do throws(NegotiationError) {
      for bytes in greeting { try machine.received(bytes) }
      _ = try machine.next()
      while entries < 1_000_000 {
        try machine.received(header)
        entries += 1
        try machine.received(Wire.u32(2) + [0x61, 0x62])
      }
    } catch let caught {
      error = caught
    }
    #expect(error?.kind == .limitExceeded)
    #expect(entries == Limits.default.listings + 1)
  }

  // MARK: Refusals

  @Test(
    arguments: [
      (Wire.unsup, .listRefused), (Wire.policy, .listRefused), (Wire.invalid, .listRefused),
      (Wire.platform, .listRefused), (Wire.tlsReqd, .tlsDemanded), (Wire.unknown, .listRefused),
      (Wire.shutdown, .shuttingDown), (Wire.error(77), .listRefused),
    ] as [(UInt32, NegotiationError.Kind)])
  func refused(_ type: UInt32, _ kind: NegotiationError.Kind) {
    let run = Self.list(Wire.listed("a") + Wire.reply(Wire.list, type, Wire.text("no")))
    #expect(run.error?.kind == kind)
    #expect(run.error?.serverText == "no")
    #expect(run.machine.farewell == Wire.option(Wire.abort))
  }
}
