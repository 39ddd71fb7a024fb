// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

@Suite struct TransmissionTests {
  @Test func requestOnTheWire() throws {
    let request = Request(
      .write, flags: .fua, cookie: 0x0102_0304_0506_0708, offset: 0x1112_1314_1516_1718,
      length: 0x2122_2324)
    let bytes: [UInt8] = [
      0x25, 0x60, 0x95, 0x13, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15,
      0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24,
    ]
    #expect(Request.size == 28)
    #expect(request.encoded == bytes)
    #expect(try Request(decoding: bytes.span) == request)
    // Bytes behind the header are left alone, as a relay's buffer has them.
    #expect(try Request(decoding: (bytes + [9, 9]).span) == request)
  }

  @Test(arguments: Command.allCases) func everyCommandSurvives(_ command: Command) throws {
    let request = Request(command, cookie: 7, length: 512)
    let decoded = try Request(decoding: request.encoded.span)
    #expect(decoded.command == command)
    #expect(decoded.payloadLength == (command == .write ? 512 : 0))
  }

  @Test func unknownCommandIsKept() throws {
    var bytes = Request(.read, cookie: 1).encoded
    bytes[7] = 99
    let request = try Request(decoding: bytes.span)
    #expect(request.rawCommand == 99)
    #expect(request.command == nil)
    #expect(request.encoded == bytes)
  }

  @Test func requestMagicWrong() {
    var bytes = Request(.read, cookie: 1).encoded
    bytes[0] ^= 1
    #expect(throws: HeaderError.wrongMagic(0x2460_9513)) { try Request(decoding: bytes.span) }
  }

  @Test(arguments: 0..<28) func requestCutShort(_ length: Int) {
    let bytes = Array(Request(.read, cookie: 1).encoded.prefix(length))
    #expect(throws: HeaderError.tooShort) { try Request(decoding: bytes.span) }
  }

  @Test func noRoomToEncode() {
    var bytes = [UInt8](repeating: 0xaa, count: 27)
    var span = bytes.mutableSpan
    let requestFits = Request(.read, cookie: 1).encode(into: &span)
    #expect(!requestFits)
    #expect(bytes.allSatisfy { $0 == 0xaa })
    var short = [UInt8](repeating: 0xaa, count: 15)
    var shortSpan = short.mutableSpan
    let replyFits = SimpleReply(cookie: 1).encode(into: &shortSpan)
    #expect(!replyFits)
    #expect(short.allSatisfy { $0 == 0xaa })
  }

  @Test func simpleReplyOnTheWire() throws {
    let reply = SimpleReply(cookie: 0x0102_0304_0506_0708, error: .enospc)
    let bytes: [UInt8] = [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28, 1, 2, 3, 4, 5, 6, 7, 8]
    #expect(SimpleReply.size == 16)
    #expect(reply.encoded == bytes)
    #expect(try SimpleReply(decoding: bytes.span) == reply)
    #expect(try SimpleReply(decoding: bytes.span).error == .enospc)
    #expect(SimpleReply(cookie: 1).error == nil)
  }

  @Test(arguments: 0..<16) func simpleReplyCutShort(_ length: Int) {
    let bytes = Array(SimpleReply(cookie: 1).encoded.prefix(length))
    #expect(throws: HeaderError.tooShort) { try SimpleReply(decoding: bytes.span) }
  }

  @Test func replyMagicWrong() {
    var bytes = SimpleReply(cookie: 1).encoded
    bytes[3] ^= 0xff
    #expect(throws: HeaderError.wrongMagic(0x6744_6667)) { try SimpleReply(decoding: bytes.span) }
    #expect(HeaderError.wrongMagic(0x6744_6667).description.contains("0x67446667"))
  }

  @Test func structuredReplyIsNamed() {
    let bytes: [UInt8] = [0x66, 0x8e, 0x33, 0xef] + [UInt8](repeating: 0, count: 12)
    #expect(throws: HeaderError.wrongMagic(HeaderError.structuredReplyMagic)) {
      try SimpleReply(decoding: bytes.span)
    }
    #expect(
      HeaderError.wrongMagic(0x668e_33ef).description
        == "structured reply, which was not negotiated")
  }

  /// The protocol's list, and what Linux calls the same: EPERM, EIO, ENOMEM, EINVAL, ENOSPC,
  /// EOVERFLOW, ENOTSUP, ESHUTDOWN.
  @Test(
    arguments: zip(
      [1, 5, 12, 22, 28, 75, 95, 108] as [UInt32],
      [.eperm, .eio, .enomem, .einval, .enospc, .eoverflow, .enotsup, .eshutdown] as [NBDError]))
  func errorValues(_ wire: UInt32, _ error: NBDError) {
    #expect(NBDError(wireValue: wire) == error)
    #expect(error.rawValue == wire)
    #expect(error.errno == Int32(wire))
    #expect(NBDError(errno: Int32(wire)) == error)
  }

  @Test(arguments: [2, 11, 13, 30, 96, 107, 109, 1 << 31, .max] as [UInt32])
  func strangeErrorsAreEINVAL(_ wire: UInt32) {
    var reply = SimpleReply(cookie: 1)
    reply.rawError = wire
    #expect(reply.error == .einval)
  }

  @Test func errnoOfOurOwn() {
    #expect(NBDError(errno: 30) == .eperm)  // EROFS
    #expect(NBDError(errno: 122) == .enospc)  // EDQUOT
    #expect(NBDError(errno: 27) == .enospc)  // EFBIG
    #expect(NBDError(errno: 4) == .einval)  // EINTR
    #expect(NBDError(errno: 0) == .einval)
    #expect(NBDError(errno: -5) == .einval)
  }
}
