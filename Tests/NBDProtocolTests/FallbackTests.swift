// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

/// Servers without NBD_OPT_GO or NBD_OPT_INFO.
@Suite struct FallbackTests {
  static let unsupported = Wire.reply(Wire.go, Wire.unsup)
  static let endOfList = Wire.reply(Wire.list, Wire.ack)

  static func attach(
    to export: String = "disk", flags: UInt16 = 3, _ replies: [UInt8]
  ) -> Conversation {
    Conversation(.attach(name(export)), Wire.newstyle(flags) + unsupported + replies)
  }

  static func sent(_ export: String, flags: UInt32 = 3, entersBy: Bool = true) -> [UInt8] {
    Wire.u32(flags) + Wire.option(Wire.go, Wire.infoRequest(export)) + Wire.option(Wire.list)
      + (entersBy ? Wire.option(Wire.exportName, Wire.text(export)) : [])
  }

  @Test(arguments: [true, false]) func listedThenEntered(_ noZeroes: Bool) {
    let run = Self.attach(
      flags: noZeroes ? 3 : 1,
      Wire.listed("other", "no") + Wire.listed("disk", "the one") + Wire.listed("third")
        + Self.endOfList + Wire.exportAnswer(4096, 3, zeroes: !noZeroes) + [5])
    #expect(run.sent == Self.sent("disk", flags: noZeroes ? 3 : 1))
    #expect(
      run.verdict
        == .ready(
          Export(
            name: name("disk"), description: "the one", size: 4096, flags: [.hasFlags, .readOnly])))
    #expect(run.unread == 1)
    #expect(run.machine.farewell == Wire.disc)
  }

  @Test func reservedBytesAreReadOnlyWhereDue() {
    for length in 1..<134 {
      let run = Self.attach(
        flags: 1,
        Wire.listed("disk") + Self.endOfList + Wire.exportAnswer(zeroes: true).prefix(length))
      #expect(run.error?.kind == .closed)
    }
  }

  @Test func notListed() {
    let run = Self.attach(Wire.listed("other") + Wire.listed("disk2") + Self.endOfList)
    #expect(run.error?.kind == .exportUnknown)
    #expect(run.error?.message == "the server does not list an export \"disk\"")
    #expect(run.sent == Self.sent("disk", entersBy: false))
    #expect(run.machine.farewell == Wire.option(Wire.abort))
  }

  /// Names are bytes: a name that only looks the same is another.
  @Test func listedInAnotherNormalisation() {
    let run = Self.attach(to: "e\u{301}", Wire.listed("é") + Self.endOfList)
    #expect(run.error?.kind == .exportUnknown)
  }

  @Test(arguments: [Wire.unsup, Wire.policy, Wire.platform])
  func listUnsupportedSoAnyNameIsTried(_ type: UInt32) {
    let run = Self.attach(Wire.reply(Wire.list, type, Wire.text("no")) + Wire.exportAnswer())
    #expect(run.sent == Self.sent("disk"))
    #expect(run.export?.size == 1 << 20)
  }

  @Test(
    arguments: [
      (Wire.shutdown, .shuttingDown), (Wire.tlsReqd, .tlsDemanded), (Wire.invalid, .listRefused),
      (Wire.error(99), .listRefused),
    ] as [(UInt32, NegotiationError.Kind)])
  func listFails(_ type: UInt32, _ kind: NegotiationError.Kind) {
    let run = Self.attach(Wire.reply(Wire.list, type))
    #expect(run.error?.kind == kind)
    #expect(run.sent == Self.sent("disk", entersBy: false))
  }

  @Test func defaultExportNeedNotBeListed() {
    for list in [[], Wire.listed("other"), Wire.listed("")] {
      let run = Self.attach(to: "", list + Self.endOfList + Wire.exportAnswer())
      #expect(run.sent == Self.sent(""))
      #expect(run.export?.name == .defaultExport)
    }
  }

  @Test func closedWhenAskedForTheExport() {
    let run = Self.attach(Wire.reply(Wire.list, Wire.unsup))
    #expect(run.error?.kind == .exportRefused)
    #expect(run.error?.message.contains("\"disk\"") == true)
    #expect(run.machine.farewell == nil)
  }

  @Test func closedWithinTheAnswer() {
    for length in 1..<10 {
      let run = Self.attach(
        Wire.listed("disk") + Self.endOfList + Wire.exportAnswer().prefix(length))
      #expect(run.error?.kind == .closed)
    }
  }

  @Test func whatWasToldBeforeTheRefusalDoesNotCount() {
    let run = Conversation(
      .attach(name("disk")),
      Wire.newstyle() + Wire.reply(Wire.go, Wire.repInfo, Wire.infoExport(1, 1))
        + Wire.reply(Wire.go, Wire.repInfo, Wire.infoBlockSize(4096, 4096, 4096))
        + Self.unsupported + Wire.listed("disk") + Self.endOfList + Wire.exportAnswer(8192))
    #expect(run.verdict == .ready(Export(name: name("disk"), size: 8192, flags: .hasFlags)))
  }

  @Test func infoIsAskedByEnteringTransmission() {
    let run = Conversation(
      .info(name("disk")),
      Wire.newstyle() + Wire.reply(Wire.info, Wire.unsup) + Wire.listed("disk", "d")
        + Self.endOfList + Wire.exportAnswer(512))
    #expect(
      run.verdict
        == .info(Export(name: name("disk"), description: "d", size: 512, flags: .hasFlags)))
    #expect(run.machine.farewell == Wire.disc)
  }

  @Test func listIsBoundedHereToo() {
    var limits = Limits()
    limits.listings = 2
    let run = Conversation(
      .attach(name("disk")), limits: limits,
      Wire.newstyle() + Self.unsupported + Wire.listed("a") + Wire.listed("b") + Wire.listed("c")
        + Self.endOfList)
    #expect(run.error?.kind == .limitExceeded)
  }

  @Test func withinTLSLikewise() {
    let run = Conversation(
      .attach(name("disk")), .tlsRequired,
      Wire.newstyle() + Wire.reply(Wire.startTLS, Wire.ack) + Self.unsupported
        + Wire.listed("disk") + Self.endOfList + Wire.exportAnswer())
    #expect(run.sentBeforeTLS == 4 + 16)
    #expect(run.export?.size == 1 << 20)
  }
}
