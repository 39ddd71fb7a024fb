// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

/// NBD_OPT_INFO and NBD_OPT_GO.
@Suite struct InfoTests {
  static let export = Wire.reply(Wire.go, Wire.repInfo, Wire.infoExport(1 << 20, 5))
  static let end = Wire.reply(Wire.go, Wire.ack)

  static func info(_ payload: [UInt8]) -> [UInt8] { Wire.reply(Wire.go, Wire.repInfo, payload) }

  static func go(_ replies: [UInt8], limits: Limits = .default) -> Conversation {
    Conversation(.attach(name("disk")), limits: limits, Wire.newstyle() + replies)
  }

  static let all = [
    export, info(Wire.u16(1) + Wire.text("the disk")), info(Wire.u16(2) + Wire.text("old")),
    info(Wire.infoBlockSize(512, 4096, 1 << 25)),
  ]

  static let full = Export(
    name: name("disk"), canonicalName: "the disk", description: "old", size: 1 << 20,
    flags: [.hasFlags, .sendFlush],
    blockSizes: try? BlockSizes(minimum: 512, preferred: 4096, maximum: 1 << 25))

  @Test func go() {
    let run = Self.go(Self.all.flatMap { $0 } + Self.end + [1])
    #expect(run.sent == Wire.u32(3) + Wire.option(Wire.go, Wire.infoRequest("disk")))
    #expect(run.verdict == .ready(Self.full))
    #expect(Self.full.blockSizes != nil)
    #expect(run.machine.farewell == Wire.disc)
    // No zeroes follow, whatever was negotiated, and nothing more is read.
    #expect(run.unread == 1)
  }

  @Test func goWithoutNoZeroesHasNoZeroesEither() {
    let run = Conversation(.attach(name("disk")), Wire.newstyle(1) + Self.export + Self.end)
    #expect(run.verdict != nil)
  }

  @Test func info() {
    let replies =
      Wire.reply(Wire.info, Wire.repInfo, Wire.infoExport(1 << 20, 5))
      + Wire.reply(Wire.info, Wire.ack)
    let run = Conversation(.info(name("disk")), Wire.newstyle() + replies)
    #expect(run.sent == Wire.u32(3) + Wire.option(Wire.info, Wire.infoRequest("disk")))
    #expect(
      run.verdict
        == .info(Export(name: name("disk"), size: 1 << 20, flags: [.hasFlags, .sendFlush])))
    #expect(run.machine.farewell == Wire.option(Wire.abort))
  }

  @Test(arguments: ["", "é", String(repeating: "x", count: 4096)])
  func namesOfAnyLength(_ text: String) {
    let run = Conversation(.attach(name(text)), Wire.newstyle() + Self.export + Self.end)
    #expect(run.sent == Wire.u32(3) + Wire.option(Wire.go, Wire.infoRequest(text)))
    #expect(run.export?.name.string == text)
  }

  @Test func anyOrder() {
    for first in 0..<4 {
      let rotated = Self.all[first...] + Self.all[..<first]
      #expect(Self.go(rotated.flatMap { $0 } + Self.end).verdict == .ready(Self.full))
    }
  }

  @Test func repeatedAlike() {
    let twice = (Self.all + Self.all).flatMap { $0 }
    #expect(Self.go(twice + Self.end).verdict == .ready(Self.full))
  }

  @Test(arguments: [
    Wire.infoExport(1 << 21, 5), Wire.infoExport(1 << 20, 7), Wire.u16(1) + Wire.text("other"),
    Wire.u16(2) + Wire.text("other"), Wire.infoBlockSize(1, 4096, 1 << 25),
  ])
  func repeatedWithAnotherValue(_ payload: [UInt8]) {
    let run = Self.go(Self.all.flatMap { $0 } + Self.info(payload) + Self.end)
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.error?.message.contains("two different") == true)
    #expect(run.machine.farewell == nil)
  }

  @Test func missingExport() {
    for replies in [[], Self.all[1] + Self.all[2] + Self.all[3]] {
      let run = Self.go(replies + Self.end)
      #expect(run.error?.kind == .protocolViolation)
      #expect(run.error?.message.contains("NBD_INFO_EXPORT") == true)
      #expect(run.machine.farewell == nil)
    }
  }

  @Test(arguments: [0, 1]) func withoutType(_ length: Int) {
    let run = Self.go(Self.info([UInt8](repeating: 0, count: length)) + Self.end)
    #expect(run.error?.kind == .protocolViolation)
  }

  @Test(arguments: [0, 3] as [UInt16]) func oddLengths(_ type: UInt16) {
    let due = type == 0 ? 10 : 12
    for length in 0...20 where length != due {
      let run = Self.go(
        Self.info(Wire.u16(type) + [UInt8](repeating: 0, count: length)) + Self.export + Self.end)
      #expect(run.error?.kind == .protocolViolation)
    }
  }

  @Test func emptyNameAndDescription() {
    let run = Self.go(Self.export + Self.info(Wire.u16(1)) + Self.info(Wire.u16(2)) + Self.end)
    #expect(run.export?.canonicalName == "")
    #expect(run.export?.description == "")
  }

  @Test func longNameAndDescription() {
    let longest = [UInt8](repeating: 0x78, count: 4096)
    for type: UInt16 in [1, 2] {
      #expect(Self.go(Self.export + Self.info(Wire.u16(type) + longest) + Self.end).verdict != nil)
      let run = Self.go(Self.export + Self.info(Wire.u16(type) + longest + [0x78]) + Self.end)
      #expect(run.error?.kind == .limitExceeded)
    }
  }

  @Test func unknownInformationIsIgnored() {
    let unknown = Self.info(Wire.u16(4711) + [1, 2, 3]) + Self.info(Wire.u16(4))
    #expect(Self.go(unknown + Self.export + unknown + Self.end).verdict != nil)
  }

  @Test func repliesAreBounded() {
    let unknown = Self.info(Wire.u16(4711))
    let most = Array(repeating: unknown, count: 31).flatMap { $0 }
    #expect(Self.go(most + Self.export + Self.end).verdict != nil)
    #expect(Self.go(most + unknown + Self.export + Self.end).error?.kind == .limitExceeded)
  }

  @Test(arguments: [16_385, 1 << 31, .max] as [UInt32]) func longRepliesAreNeverRead(
    _ length: UInt32
  ) {
    let run = Self.go(Wire.header(Wire.go, Wire.repInfo, length: length) + [0, 0])
    #expect(run.error?.kind == .limitExceeded)
    #expect(run.unread == 2)
  }

  @Test func listingInReplyToGo() {
    let run = Self.go(Wire.reply(Wire.go, Wire.server, Wire.u32(0)) + Self.end)
    #expect(run.error?.kind == .protocolViolation)
  }

  @Test func acknowledgementWithPayload() {
    let run = Self.go(Self.export + Wire.reply(Wire.go, Wire.ack, [1]))
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.verdict == nil)
  }

  @Test func closedAtEveryByte() {
    let replies = Self.all.flatMap { $0 } + Self.end
    for length in 0..<replies.count {
      #expect(Self.go(Array(replies.prefix(length))).error?.kind == .closed)
    }
  }

  // MARK: Sizes and flags

  @Test(arguments: [0, 1, 511, 513, 1 << 40, 1 << 63 - 1] as [UInt64])
  func sizesThatAreTaken(_ size: UInt64) {
    let run = Self.go(Self.info(Wire.infoExport(size)) + Self.end)
    #expect(run.export?.size == size)
    #expect(Conversation(.attach(name("")), Wire.oldstyle(size: size)).export?.size == size)
  }

  @Test(arguments: [1 << 63, 1 << 63 + 1, .max - 511, .max] as [UInt64])
  func sizesThatAreRefused(_ size: UInt64) {
    for run in [
      Self.go(Self.info(Wire.infoExport(size)) + Self.end),
      Conversation(.attach(name("")), Wire.oldstyle(size: size)),
      Conversation(.attach(name("")), Wire.newstyle(2) + Wire.exportAnswer(size)),
    ] {
      #expect(run.error?.kind == .protocolViolation)
      #expect(run.error?.message.contains(String(size)) == true)
      #expect(run.machine.farewell == nil)
    }
  }

  @Test func trailingBytes() {
    func export(_ size: UInt64) -> Export { Export(name: name(""), size: size, flags: []) }
    #expect(export(1 << 20).trailingBytes(blockSize: 512) == 0)
    #expect(export(1 << 20 | 5).trailingBytes(blockSize: 512) == 5)
    #expect(export(511).trailingBytes(blockSize: 512) == 511)
    #expect(export(1 << 63 - 1).trailingBytes(blockSize: 65_536) == 65_535)
    #expect(export(7).trailingBytes(blockSize: 0) == 0)
  }

  @Test func unknownFlagsAreDropped() {
    let run = Self.go(Self.info(Wire.infoExport(512, 0xf001)) + Self.end)
    #expect(run.export?.flags == .hasFlags)
  }

  /// SEND_DF needs structured replies, FAST_ZERO needs WRITE_ZEROES.
  @Test func flagsThatCannotBeAreDropped() {
    #expect(Self.go(Self.info(Wire.infoExport(512, 0x0881)) + Self.end).export?.flags == .hasFlags)
    #expect(
      Self.go(Self.info(Wire.infoExport(512, 0x0841)) + Self.end).export?.flags
        == [.hasFlags, .sendWriteZeroes, .sendFastZero])
  }

  /// Old servers send 0; a server that forgets the bit still means the others.
  @Test func flagsWithoutHasFlags() {
    #expect(
      Self.go(Self.info(Wire.infoExport(512, 6)) + Self.end).export?.flags == [
        .readOnly, .sendFlush,
      ])
  }

  // MARK: Block sizes

  @Test(
    arguments: [
      (1, 512, 512), (1, 4096, .max), (512, 512, 512), (512, 4096, 1 << 25),
      (65_536, 65_536, 65_537),
      (1, 1 << 31, .max),
    ] as [(UInt32, UInt32, UInt32)])
  func blockSizesThatAreTaken(_ minimum: UInt32, _ preferred: UInt32, _ maximum: UInt32) {
    let run = Self.go(
      Self.export + Self.info(Wire.infoBlockSize(minimum, preferred, maximum)) + Self.end)
    #expect(run.export?.blockSizes?.minimum == minimum)
    #expect(run.export?.blockSizes?.preferred == preferred)
    #expect(run.export?.blockSizes?.maximum == maximum)
  }

  @Test(
    arguments: [
      (0, 4096, 1 << 25), (1, 0, 1 << 25), (1, 4096, 0), (3, 4096, 1 << 25), (1, 4097, 1 << 25),
      (131_072, 131_072, 1 << 25), (4096, 512, 1 << 25), (1, 256, 1 << 25), (512, 4096, 2048),
      (.max, .max, .max), (0, 0, 0),
    ] as [(UInt32, UInt32, UInt32)])
  func blockSizesThatAreRefused(_ minimum: UInt32, _ preferred: UInt32, _ maximum: UInt32) {
    let run = Self.go(
      Self.export + Self.info(Wire.infoBlockSize(minimum, preferred, maximum)) + Self.end)
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.error?.message.contains("size") == true)
    #expect(run.machine.farewell == nil)
  }
}
