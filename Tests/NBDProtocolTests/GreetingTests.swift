// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

@Suite struct GreetingTests {
  @Test func closedBeforeAnything() {
    let run = Conversation(.list, [])
    #expect(run.error?.kind == .closed)
    #expect(run.error?.message == "the server closed the connection before it said anything")
  }

  @Test func wrongMagicIsShown() {
    let run = Conversation(.list, Wire.text("SSH-2.0-OpenSSH"))
    #expect(run.error?.kind == .notNBD)
    #expect(run.error?.message == "not an NBD server: it begins with \"SSH-2.0-\"")
    #expect(run.unread == 7)
  }

  @Test func wrongMagicIsShownPrintable() {
    let run = Conversation(.list, [0x15, 0x03, 0x03, 0x1b, 0x5c, 0x22, 0x41, 0xff])
    #expect(
      run.error?.message
        == #"not an NBD server: it begins with "\x15\x03\x03\x1b\\"A\xff""#)
  }

  @Test func wrongSecondMagic() {
    let run = Conversation(.list, Wire.text("NBDMAGICNBDMAGIC") + [0, 3])
    #expect(run.error?.kind == .notNBD)
    #expect(run.error?.message.contains("\"NBDMAGIC\"") == true)
    #expect(run.sent.isEmpty)
  }

  @Test(arguments: [Security.tlsRequired, .plaintext]) func cutAtEveryByte(_ security: Security) {
    for length in 0..<18 {
      let run = Conversation(.list, security, Array(Wire.newstyle().prefix(length)))
      #expect(run.error?.kind == .closed)
      #expect(run.sent.isEmpty)
    }
  }

  @Test func oldstyleCutAtEveryByte() {
    for length in 0..<152 {
      let run = Conversation(.attach(name("")), Array(Wire.oldstyle().prefix(length)))
      #expect(run.error?.kind == .closed)
    }
  }

  /// "The client SHOULD ignore any handshake flags it does not recognize", and may not repeat them.
  @Test func unknownHandshakeFlagsAreNotRepeated() {
    let run = Conversation(.list, Wire.newstyle(0xffff) + Wire.reply(Wire.list, Wire.ack))
    #expect(run.sent.starts(with: Wire.u32(3)))
    #expect(run.verdict == .listing([]))
  }

  @Test(arguments: [0, 1, 2, 3] as [UInt16]) func clientFlagsFollowTheServers(_ flags: UInt16) {
    let run = Conversation(
      .attach(name("")),
      Wire.newstyle(flags)
        + (flags & 1 == 0
          ? Wire.exportAnswer(zeroes: flags & 2 == 0)
          : Wire.reply(Wire.go, Wire.repInfo, Wire.infoExport()) + Wire.reply(Wire.go, Wire.ack)))
    #expect(run.sent.starts(with: Wire.u32(UInt32(flags))))
    #expect(run.export?.size == 1 << 20)
    #expect(run.unread == 0)
  }

  // MARK: Oldstyle

  @Test func oldstyleWhereAllowed() {
    let run = Conversation(.attach(name("")), Wire.oldstyle(size: 4097, flags: 3) + [9])
    #expect(
      run.verdict == .ready(Export(name: name(""), size: 4097, flags: [.hasFlags, .readOnly])))
    #expect(run.sent.isEmpty)
    #expect(run.unread == 1)
    #expect(run.machine.farewell == Wire.disc)
    #expect(run.trace.first == "server: oldstyle")
  }

  @Test func oldstyleInfo() {
    let run = Conversation(.info(name("")), Wire.oldstyle())
    #expect(run.verdict == .info(Export(name: name(""), size: 1 << 20, flags: .hasFlags)))
    #expect(run.machine.farewell == Wire.disc)
  }

  @Test func oldstyleListIsTheDefaultExport() {
    let run = Conversation(.list, Wire.oldstyle())
    #expect(run.verdict == .listing([ExportListing(name: "")]))
    #expect(run.machine.farewell == Wire.disc)
  }

  @Test func oldstyleHasNoNames() {
    for goal in [Goal.attach(name("disk")), .info(name("disk"))] {
      let run = Conversation(goal, Wire.oldstyle())
      #expect(run.error?.kind == .exportUnknown)
      #expect(run.error?.message.contains("\"disk\"") == true)
      #expect(run.machine.farewell == nil)
    }
  }

  @Test(arguments: [0x1_0000, 0x1_0001, 0x8000_0000, .max] as [UInt32])
  func oldstyleFlagsWithUnknownHighBits(_ flags: UInt32) {
    let run = Conversation(.attach(name("")), Wire.oldstyle(flags: flags))
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.error?.message.contains("0x" + String(flags, radix: 16)) == true)
    #expect(run.machine.farewell == nil)
  }

  @Test func oldstyleUnknownLowBitsAreIgnored() {
    let run = Conversation(.attach(name("")), Wire.oldstyle(flags: 0xf001))
    #expect(run.export?.flags == .hasFlags)
  }

  @Test func oldstyleReservedBytesAreNotLookedAt() {
    let script = Wire.oldstyle().dropLast(124) + [UInt8](repeating: 0xff, count: 124)
    #expect(Conversation(.attach(name("")), Array(script)).export?.size == 1 << 20)
  }

  // MARK: Newstyle that is not fixed

  @Test(arguments: [true, false]) func notFixed(_ noZeroes: Bool) {
    let run = Conversation(
      .attach(name("disk")),
      Wire.newstyle(noZeroes ? 2 : 0) + Wire.exportAnswer(512, 1, zeroes: !noZeroes) + [7])
    #expect(
      run.sent
        == Wire.u32(noZeroes ? 2 : 0) + Wire.option(Wire.exportName, Wire.text("disk")))
    #expect(run.verdict == .ready(Export(name: name("disk"), size: 512, flags: .hasFlags)))
    #expect(run.unread == 1)
  }

  @Test func notFixedCannotList() {
    let run = Conversation(.list, Wire.newstyle(0))
    #expect(run.error?.kind == .listRefused)
    #expect(run.sent.isEmpty)
    #expect(run.machine.farewell == nil)
  }

  @Test func notFixedInfoEntersTransmission() {
    let run = Conversation(.info(name("x")), Wire.newstyle(0) + Wire.exportAnswer(zeroes: true))
    #expect(run.verdict == .info(Export(name: name("x"), size: 1 << 20, flags: .hasFlags)))
    #expect(run.machine.farewell == Wire.disc)
  }

  // MARK: Misuse

  @Test func bytesWhenNoneAreDue() throws {
    var machine = Negotiation(goal: .list, security: .plaintext)
    for bytes in [Wire.text("NBDMAGIC"), Wire.text("IHAVEOPT"), [0, 3]] {
      try machine.received(bytes)
    }
    // The client's flags are waiting to be sent.
    #expect(throws: NegotiationError.self) { try machine.received([0]) }
  }

  @Test func tooFewBytesAreAnEnd() {
    var machine = Negotiation(goal: .list, security: .plaintext)
    let error = #expect(throws: NegotiationError.self) { try machine.received([1, 2, 3]) }
    #expect(error?.kind == .closed)
  }

  @Test func failureIsFinal() {
    var machine = Conversation(.list, Wire.text("12345678")).machine
    let first = #expect(throws: NegotiationError.self) { try machine.next() }
    #expect(first?.kind == .notNBD)
    #expect(machine.endOfStream(after: 0) == first)
    let second = #expect(throws: NegotiationError.self) {
      try machine.received(Wire.text("NBDMAGIC"))
    }
    #expect(second == first)
  }
}
