// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

/// Structured replies and contexts, asked for before NBD_OPT_GO.
@Suite struct ExtensionTests {
  static let structured: UInt32 = 8
  static let setContext: UInt32 = 10
  static let repContext: UInt32 = 4

  static let query =
    Wire.u32(4) + Wire.text("disk") + Wire.u32(1) + Wire.u32(15) + Wire.text("base:allocation")
  static let accepted = Wire.reply(structured, Wire.ack)
  static let go =
    Wire.reply(Wire.go, Wire.repInfo, Wire.infoExport()) + Wire.reply(Wire.go, Wire.ack)
  static let asks = Wire.u32(3) + Wire.option(structured)
  static let asksContext = Wire.option(setContext, query)
  static let asksGo = Wire.option(Wire.go, Wire.infoRequest("disk"))

  static func context(_ name: String = "base:allocation", _ number: UInt32 = 7) -> [UInt8] {
    Wire.reply(setContext, repContext, Wire.u32(number) + Wire.text(name))
  }

  static func attach(_ replies: [UInt8]) -> Conversation {
    Conversation(.attach(name("disk")), extensions: .blockStatus, Wire.newstyle() + replies)
  }

  @Test func bothGranted() {
    let run = Self.attach(
      Self.accepted + Self.context() + Wire.reply(Self.setContext, Wire.ack) + Self.go)
    #expect(run.sent == Self.asks + Self.asksContext + Self.asksGo)
    #expect(run.export?.size == 1 << 20)
    #expect(
      run.machine.agreement
        == Agreement(
          structuredReplies: true, contexts: [MetaContext(identifier: 7, name: "base:allocation")]))
    #expect(run.unread == 0)
  }

  @Test func contextNotThere() {
    let run = Self.attach(Self.accepted + Wire.reply(Self.setContext, Wire.ack) + Self.go)
    #expect(run.machine.agreement == Agreement(structuredReplies: true))
    #expect(run.export != nil)
  }

  @Test(arguments: [Wire.unsup, Wire.policy, Wire.invalid, Wire.platform, Wire.error(77)])
  func structuredRepliesRefused(_ type: UInt32) {
    let run = Self.attach(Wire.reply(Self.structured, type, Wire.text("no")) + Self.go)
    #expect(run.sent == Self.asks + Self.asksGo)
    #expect(run.machine.agreement == Agreement())
    #expect(run.export != nil)
  }

  @Test(arguments: [Wire.unsup, Wire.policy, Wire.unknown, Wire.error(9)])
  func contextRefused(_ type: UInt32) {
    let run = Self.attach(
      Self.accepted + Self.context() + Wire.reply(Self.setContext, type) + Self.go)
    #expect(run.sent == Self.asks + Self.asksContext + Self.asksGo)
    #expect(run.machine.agreement == Agreement(structuredReplies: true))
    #expect(run.export != nil)
  }

  @Test(
    arguments: [
      (Wire.tlsReqd, .tlsDemanded), (Wire.shutdown, .shuttingDown),
    ] as [(UInt32, NegotiationError.Kind)])
  func fatalRefusals(_ type: UInt32, _ kind: NegotiationError.Kind) {
    #expect(Self.attach(Wire.reply(Self.structured, type)).error?.kind == kind)
    #expect(
      Self.attach(Self.accepted + Wire.reply(Self.setContext, type)).error?.kind == kind)
  }

  @Test func agreementOutlivesTheFallback() {
    let run = Self.attach(
      Self.accepted + Self.context() + Wire.reply(Self.setContext, Wire.ack)
        + Wire.reply(Wire.go, Wire.unsup) + Wire.listed("disk") + Wire.reply(Wire.list, Wire.ack)
        + Wire.exportAnswer(4096))
    #expect(run.export?.size == 4096)
    #expect(run.machine.agreement.contexts.count == 1)
  }

  @Test func neverBeforeTLS() {
    let run = Conversation(
      .attach(name("disk")), .tlsRequired, extensions: .blockStatus,
      Wire.newstyle() + Wire.reply(Wire.startTLS, Wire.ack) + Self.accepted + Self.context()
        + Wire.reply(Self.setContext, Wire.ack) + Self.go)
    let plaintext = Wire.u32(3) + Wire.option(Wire.startTLS)
    #expect(run.sentBeforeTLS == plaintext.count)
    #expect(
      run.sent == plaintext + Wire.option(Self.structured) + Self.asksContext + Self.asksGo)
    #expect(run.export != nil)
  }

  @Test(arguments: [Goal.list, .info(.defaultExport)]) func onlyToAttach(_ goal: Goal) {
    let run = Conversation(goal, extensions: .blockStatus, Wire.newstyle())
    #expect(Array(run.sent.dropFirst(4 + 8).prefix(4)) != Wire.u32(Self.structured))
  }

  @Test func notOnServersWithoutOptions() {
    let run = Conversation(
      .attach(.defaultExport), extensions: .blockStatus, Wire.newstyle(2) + Wire.exportAnswer())
    #expect(run.export != nil)
    #expect(run.machine.agreement == Agreement())
  }

  @Test func contextsNotAskedFor() {
    for reply in [
      Self.context("qemu:dirty-bitmap:x"), Self.context("base:allocatio"),
      Self.context() + Self.context(), Self.context() + Self.context("base:allocation", 8),
    ] {
      let run = Self.attach(Self.accepted + reply + Wire.reply(Self.setContext, Wire.ack) + Self.go)
      #expect(run.error?.kind == .protocolViolation)
    }
  }

  @Test(arguments: [0, 3, 4] as [UInt32]) func contextTooShort(_ length: UInt32) {
    let run = Self.attach(
      Self.accepted + Wire.header(Self.setContext, Self.repContext, length: length) + [0, 0, 0, 0])
    #expect(run.error?.kind == .protocolViolation)
  }

  @Test(arguments: [4101, 1 << 31, .max] as [UInt32]) func contextTooLong(_ length: UInt32) {
    let run = Self.attach(
      Self.accepted + Wire.header(Self.setContext, Self.repContext, length: length) + [0])
    #expect(run.error?.kind == .limitExceeded)
    #expect(run.unread == 1)
  }

  @Test func acknowledgementWithPayload() {
    let run = Self.attach(Wire.reply(Self.structured, Wire.ack, [0]))
    #expect(run.error?.kind == .protocolViolation)
  }

  @Test func repliesOfOtherKinds() {
    #expect(Self.attach(Wire.reply(Self.structured, 4, Wire.u32(1))).error != nil)
    #expect(
      Self.attach(Self.accepted + Wire.reply(Self.setContext, 2, Wire.u32(1))).error?.kind
        == .protocolViolation)
    #expect(
      Self.attach(Self.accepted + Wire.reply(Wire.go, Wire.ack)).error?.kind == .protocolViolation)
  }

  @Test func closedAtEveryByte() {
    let replies = Self.accepted + Self.context() + Wire.reply(Self.setContext, Wire.ack)
    for length in 0..<replies.count {
      #expect(Self.attach(Array(replies.prefix(length))).error?.kind == .closed)
    }
  }
}
