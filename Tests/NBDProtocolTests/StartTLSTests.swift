// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

@Suite struct StartTLSTests {
  let acknowledged = Wire.newstyle() + Wire.reply(Wire.startTLS, Wire.ack)
  /// All that may ever be sent in plaintext.
  let plaintext = Wire.u32(3) + Wire.option(Wire.startTLS)

  @Test func nothingButStartTLSInPlaintext() {
    let run = Conversation(
      .attach(name("secret")), .tlsRequired,
      acknowledged + Wire.reply(Wire.go, Wire.repInfo, Wire.infoExport(4096, 3))
        + Wire.reply(Wire.go, Wire.ack))
    #expect(run.sentBeforeTLS == plaintext.count)
    #expect(run.sent == plaintext + Wire.option(Wire.go, Wire.infoRequest("secret")))
    #expect(
      run.verdict
        == .ready(Export(name: name("secret"), size: 4096, flags: [.hasFlags, .readOnly])))
    #expect(run.unread == 0)
  }

  @Test func readsExactlyTheAcknowledgement() {
    var machine = Negotiation(goal: .list, security: .tlsRequired)
    var script = acknowledged[...]
    var steps: [Negotiation.Step] = []
    while let step = try? machine.next() {
      steps.append(step)
      if case .receive(let count) = step {
        try? machine.received(Array(script.prefix(count)))
        script = script.dropFirst(count)
      }
      if step == .startTLS { break }
    }
    #expect(
      steps == [
        .receive(exactly: 8), .receive(exactly: 8), .receive(exactly: 2), .send(plaintext),
        .receive(exactly: 20), .startTLS,
      ])
    #expect(script.isEmpty)
  }

  @Test(arguments: [
    Wire.unsup, Wire.policy, Wire.invalid, Wire.platform, Wire.tlsReqd, Wire.unknown,
    Wire.shutdown, Wire.blockSizeReqd, Wire.error(9), Wire.error(10), Wire.error(4711),
    Wire.error(0x7fff_ffff),
  ])
  func refused(_ type: UInt32) {
    let run = Conversation(
      .attach(name("secret")), .tlsRequired,
      Wire.newstyle() + Wire.reply(Wire.startTLS, type, Wire.text("go away")))
    #expect(run.error?.kind == .serverCannotTLS)
    #expect(run.error?.serverText == "go away")
    #expect(run.error?.message.contains("go away") == true)
    #expect(run.sent == plaintext)
    #expect(run.machine.farewell == nil)
  }

  @Test func acknowledgementOfAnotherOption() {
    let run = Conversation(
      .list, .tlsRequired, Wire.newstyle() + Wire.reply(Wire.list, Wire.ack))
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.error?.message == "the server answers NBD_OPT_LIST when asked NBD_OPT_STARTTLS")
    #expect(run.sent == plaintext)
  }

  @Test func acknowledgementWithPayload() {
    let run = Conversation(
      .list, .tlsRequired, Wire.newstyle() + Wire.reply(Wire.startTLS, Wire.ack, [0]))
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.unread == 1)
    #expect(run.sentBeforeTLS == nil)
  }

  @Test func acknowledgementWithWrongMagic() {
    var script = acknowledged
    script[18] ^= 0x40
    let run = Conversation(.list, .tlsRequired, script)
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.error?.message.contains("wrong magic \"@\\x03") == true)
    #expect(run.sent == plaintext)
  }

  @Test(arguments: [Wire.server, Wire.repInfo, 4, 0, 17])
  func answeredByAnythingElse(_ type: UInt32) {
    let run = Conversation(
      .list, .tlsRequired, Wire.newstyle() + Wire.reply(Wire.startTLS, type, [0, 0, 0, 0]))
    #expect(run.error?.kind == .protocolViolation)
    #expect(run.sent == plaintext)
    #expect(run.machine.farewell == nil)
  }

  /// Replies meant to be believed after TLS: the machine never asks for them.
  @Test func repliesInjectedBehindTheAcknowledgementStayUnread() throws {
    var machine = Negotiation(goal: .attach(name("x")), security: .tlsRequired)
    var read = 0
    while true {
      let step = try machine.next()
      if step == .startTLS { break }
      if case .receive(let count) = step {
        try machine.received(Array(acknowledged[read..<(read + count)]))
        read += count
      }
    }
    #expect(read == acknowledged.count)
    // TLS starts once; what comes next goes through it.
    #expect(try machine.next() == .send(Wire.option(Wire.go, Wire.infoRequest("x"))))
  }

  @Test func serverWithoutFixedNewstyle() {
    for flags: UInt16 in [0, 2] {
      let run = Conversation(.attach(name("x")), .tlsRequired, Wire.newstyle(flags))
      #expect(run.error?.kind == .serverCannotTLS)
      #expect(run.sent.isEmpty)
      #expect(run.machine.farewell == nil)
    }
  }

  @Test func oldstyleServer() {
    let run = Conversation(.attach(name("")), .tlsRequired, Wire.oldstyle())
    #expect(run.error?.kind == .serverCannotTLS)
    #expect(run.sent.isEmpty)
    #expect(run.machine.farewell == nil)
    // Refused at the second magic, before anything the server may want to tell.
    #expect(run.unread == 8 + 4 + 124)
  }

  @Test func tlsDemandedWithinTLSIsNonsense() {
    let run = Conversation(
      .attach(name("x")), .tlsRequired, acknowledged + Wire.reply(Wire.go, Wire.tlsReqd))
    #expect(run.error?.kind == .protocolViolation)
  }

  @Test func demandedWherePlaintextWasAllowed() {
    for (goal, option) in [
      (Goal.list, Wire.list), (.info(name("x")), Wire.info), (.attach(name("x")), Wire.go),
    ] {
      let run = Conversation(
        goal, .plaintext,
        Wire.newstyle() + Wire.reply(option, Wire.tlsReqd, Wire.text("encrypt, please")))
      #expect(run.error?.kind == .tlsDemanded)
      #expect(run.error?.serverText == "encrypt, please")
      #expect(run.machine.farewell == Wire.option(Wire.abort))
    }
  }

  @Test func plaintextNeverAsksForTLS() {
    let run = Conversation(
      .list, .plaintext, Wire.newstyle() + Wire.reply(Wire.list, Wire.ack))
    #expect(run.sent == Wire.u32(3) + Wire.option(Wire.list))
    #expect(run.sentBeforeTLS == nil)
    #expect(run.verdict == .listing([]))
  }

  @Test func closedAtEveryByteOfTheReply() {
    for reply in [
      Wire.reply(Wire.startTLS, Wire.ack), Wire.reply(Wire.startTLS, Wire.policy, [0x78, 0x79]),
    ] {
      for length in 0..<reply.count {
        let run = Conversation(.list, .tlsRequired, Wire.newstyle() + reply.prefix(length))
        #expect(run.error?.kind == .closed)
        #expect(run.error?.message.contains("NBD_OPT_STARTTLS") == true)
        #expect(run.sent == plaintext)
        #expect(run.machine.farewell == nil)
      }
    }
  }

  @Test func longRefusalIsNeverRead() {
    for length: UInt32 in [4097, .max] {
      let run = Conversation(
        .list, .tlsRequired,
        Wire.newstyle() + Wire.header(Wire.startTLS, Wire.unsup, length: length) + [1])
      #expect(run.error?.kind == .limitExceeded)
      #expect(run.unread == 1)
    }
  }

  @Test func tracesWhatHappens() {
    let run = Conversation(
      .attach(name("x")), .tlsRequired,
      acknowledged + Wire.reply(Wire.go, Wire.repInfo, Wire.infoExport(4096, 3))
        + Wire.reply(Wire.go, Wire.ack))
    #expect(
      run.trace == [
        "server: newstyle, fixed, no-zeroes", "sent NBD_OPT_STARTTLS",
        "got NBD_REP_ACK for NBD_OPT_STARTTLS", "sent NBD_OPT_GO",
        "got NBD_INFO_EXPORT: size 4096, flags read-only", "got NBD_REP_ACK for NBD_OPT_GO",
      ])
  }

  @Test func whatIsMissingWhenADeadlinePasses() throws {
    var machine = Negotiation(goal: .list, security: .tlsRequired)
    #expect(machine.missing == "no greeting")
    for bytes in [Wire.text("NBDMAGIC"), Wire.text("IHAVEOPT"), [0, 3]] {
      try machine.received(bytes)
    }
    _ = try machine.next()
    #expect(machine.missing == "no answer to NBD_OPT_STARTTLS")
    #expect(machine.farewell == nil)
    try machine.received(Wire.reply(Wire.startTLS, Wire.ack))
    #expect(try machine.next() == .startTLS)
    #expect(machine.missing == "no end of the TLS handshake")
    #expect(machine.farewell == nil)
    _ = try machine.next()
    #expect(machine.missing == "no answer to NBD_OPT_LIST")
    try machine.received(Wire.header(Wire.list, Wire.server, length: 5))
    #expect(machine.missing == "no end of the answer to NBD_OPT_LIST")
    // A reply is outstanding: the protocol allows no other option.
    #expect(machine.farewell == nil)
  }
}
