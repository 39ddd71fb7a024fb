// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

/// NBD_REP_ERR_* in reply to NBD_OPT_INFO and NBD_OPT_GO; and what is shown of a server's words.
@Suite struct RefusalTests {
  static func go(_ type: UInt32, _ text: [UInt8] = []) -> Conversation {
    Conversation(
      .attach(name("disk")), Wire.newstyle() + Wire.reply(Wire.go, type, text) + [0xaa])
  }

  @Test(
    arguments: [
      (Wire.policy, .exportRefused, "the server refuses export \"disk\": NBD_REP_ERR_POLICY"),
      (Wire.invalid, .exportRefused, "the server refuses export \"disk\": NBD_REP_ERR_INVALID"),
      (Wire.platform, .exportRefused, "the server refuses export \"disk\": NBD_REP_ERR_PLATFORM"),
      (Wire.tlsReqd, .tlsDemanded, "the server demands TLS: NBD_REP_ERR_TLS_REQD"),
      (Wire.unknown, .exportUnknown, "the server has no export \"disk\": NBD_REP_ERR_UNKNOWN"),
      (Wire.shutdown, .shuttingDown, "the server is shutting down: NBD_REP_ERR_SHUTDOWN"),
      (
        Wire.blockSizeReqd, .exportRefused,
        "the server refuses export \"disk\": NBD_REP_ERR_BLOCK_SIZE_REQD"
      ),
      (Wire.error(9), .exportRefused, "the server refuses export \"disk\": NBD_REP_ERR_TOO_BIG"),
      (
        Wire.error(10), .exportRefused,
        "the server refuses export \"disk\": NBD_REP_ERR_EXT_HEADER_REQD"
      ),
      (
        Wire.error(4711), .exportRefused,
        "the server refuses export \"disk\": unknown error 0x80001267"
      ),
      (
        Wire.error(0x7fff_ffff), .exportRefused,
        "the server refuses export \"disk\": unknown error 0xffffffff"
      ),
    ] as [(UInt32, NegotiationError.Kind, String)])
  func each(_ type: UInt32, _ kind: NegotiationError.Kind, _ message: String) {
    let bare = Self.go(type)
    #expect(bare.error?.kind == kind)
    #expect(bare.error?.message == message)
    #expect(bare.error?.serverText == nil)
    #expect(bare.machine.farewell == Wire.option(Wire.abort))
    #expect(bare.unread == 1)

    let worded = Self.go(type, Wire.text("because"))
    #expect(worded.error?.kind == kind)
    #expect(worded.error?.message == message + ", \"because\"")
    #expect(worded.error?.serverText == "because")
    #expect(worded.unread == 1)
  }

  @Test func infoRepliesBeforeTheErrorDoNotCount() {
    let run = Conversation(
      .attach(name("disk")),
      Wire.newstyle() + Wire.reply(Wire.go, Wire.repInfo, Wire.infoExport())
        + Wire.reply(Wire.go, Wire.policy))
    #expect(run.error?.kind == .exportRefused)
  }

  @Test func textIsReadWholeAndShownInPart() {
    let longest = [UInt8](repeating: 0x78, count: 4096)
    let run = Self.go(Wire.policy, longest)
    #expect(run.unread == 1)
    #expect(run.error?.serverText == String(repeating: "x", count: 300) + "…")
  }

  @Test(arguments: [4097, 1 << 20, 1 << 31, .max] as [UInt32])
  func longTextIsNeverRead(_ length: UInt32) {
    let run = Conversation(
      .attach(name("disk")),
      Wire.newstyle() + Wire.header(Wire.go, Wire.policy, length: length) + [1, 2])
    #expect(run.error?.kind == .limitExceeded)
    #expect(run.unread == 2)
    #expect(run.machine.farewell == nil)
  }

  @Test func textIsMadePrintable() {
    #expect(
      Self.go(Wire.policy, Wire.text("a\nb\u{1b}[31mc\n")).error?.serverText == #"a b\u{1b}[31mc"#)
    #expect(
      Self.go(Wire.policy, Wire.text("x\u{202e}y\u{0}z")).error?.serverText == #"x\u{202e}y\u{0}z"#)
    #expect(Self.go(Wire.policy, [0x61, 0xff]).error?.serverText == "a\u{fffd}")
    #expect(Self.go(Wire.policy, Wire.text(" \n\t")).error?.serverText == nil)
    #expect(Self.go(Wire.policy, Wire.text("größer ✓")).error?.serverText == "größer ✓")
  }

  @Test func closedInTheText() {
    let replies = Wire.reply(Wire.go, Wire.policy, Wire.text("because"))
    for length in 0..<replies.count {
      let run = Conversation(
        .attach(name("disk")), Wire.newstyle() + Array(replies.prefix(length)))
      #expect(run.error?.kind == .closed)
      #expect(run.machine.farewell == nil)
    }
  }

  @Test func printableNames() {
    #expect(name("a\"b\\c\u{7}").description == #""a\"b\\c\u{7}""#)
    #expect(Printable.quoted(String(repeating: "y", count: 9), limit: 4) == "\"yyyy…\"")
    #expect(Printable.text(" a\u{a0}b ") == #"a\u{a0}b"#)
    #expect(Printable.ascii([0, 0x20, 0x7e, 0x7f, 0x80]) == #"\x00 ~\x7f\x80"#)
  }
}
