// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

/// Transcripts of honest servers, damaged at random with a fixed seed: no trap, no endless loop,
/// nothing said in plaintext that may not be. The fuzzers do the same for longer.
@Suite struct RandomisedTests {
  /// SplitMix64: small, and the same everywhere.
  struct Generator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }
  }

  static let rounds = 4000

  static let info = InfoTests.all.flatMap { $0 } + InfoTests.end
  static let list = Wire.listed("disk", "d") + Wire.listed("") + Wire.reply(Wire.list, Wire.ack)
  static let fallback =
    Wire.reply(Wire.go, Wire.unsup) + list + Wire.exportAnswer(zeroes: false)
  static let tls = Wire.reply(Wire.startTLS, Wire.ack)

  static let transcripts: [(Goal, Security, [UInt8])] = [
    (.attach(name("disk")), .tlsRequired, Wire.newstyle() + tls + info),
    (.attach(name("disk")), .tlsRequired, Wire.newstyle() + tls + fallback),
    (.list, .tlsRequired, Wire.newstyle() + tls + list),
    (.attach(name("disk")), .plaintext, Wire.newstyle() + info),
    (.attach(name("disk")), .plaintext, Wire.newstyle(1) + fallback),
    (.attach(name("disk")), .plaintext, Wire.newstyle(0) + Wire.exportAnswer(zeroes: true)),
    (.attach(name("")), .plaintext, Wire.oldstyle()),
    (.list, .plaintext, Wire.newstyle() + list),
    (
      .info(name("disk")), .plaintext,
      Wire.newstyle() + Wire.reply(Wire.info, Wire.policy, Wire.text("no"))
    ),
  ]

  static func mutate(_ bytes: [UInt8], _ generator: inout Generator) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
      let index = Int.random(in: 0..<bytes.count, using: &generator)
      switch Int.random(in: 0..<6, using: &generator) {
      case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 1: bytes[index] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &generator) ?? 0
      case 2: bytes.removeSubrange(index...)
      case 3: bytes.remove(at: index)
      case 4: bytes.insert(.random(in: 0...255, using: &generator), at: index)
      default:
        let end = min(bytes.count, index + Int.random(in: 1...40, using: &generator))
        bytes.insert(contentsOf: bytes[index..<end], at: index)
      }
    }
    return bytes
  }

  @Test(arguments: 0..<transcripts.count) func damagedTranscripts(_ index: Int) {
    let (goal, security, honest) = Self.transcripts[index]
    let onlyInPlaintext = Wire.option(Wire.startTLS)
    var generator = Generator(state: UInt64(index))
    var ends = 0
    for _ in 0..<Self.rounds {
      let run = Conversation(goal, security, Self.mutate(honest, &generator))
      if (run.verdict == nil) != (run.error == nil) { ends += 1 }
      if security == .tlsRequired {
        let plaintext = run.sent.prefix(run.sentBeforeTLS ?? run.sent.count)
        #expect(plaintext.isEmpty || Array(plaintext.dropFirst(4)) == onlyInPlaintext)
        if run.verdict != nil { #expect(run.sentBeforeTLS != nil) }
      }
      if let error = run.error {
        #expect(!error.message.isEmpty && error.message.utf8.count < 20_000)
        #expect(error.message.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f })
      }
      _ = run.machine.farewell
    }
    #expect(ends == Self.rounds)
  }

  @Test func requestsAndReplies() {
    var generator = Generator(state: 99)
    for _ in 0..<Self.rounds {
      let length = Int.random(in: 0..<40, using: &generator)
      var bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
      let magic: [UInt8] =
        Bool.random(using: &generator) ? [0x25, 0x60, 0x95, 0x13] : [0x67, 0x44, 0x66, 0x98]
      if length >= 4 { bytes.replaceSubrange(0..<4, with: magic) }
      if let request = try? Request(decoding: bytes.span) {
        #expect(request.encoded == Array(bytes.prefix(28)))
        _ = request.command
      }
      if let reply = try? SimpleReply(decoding: bytes.span) {
        #expect(reply.encoded == Array(bytes.prefix(16)))
        #expect((reply.error == nil) == (reply.rawError == 0))
      }
    }
  }

  @Test func uris() {
    let honest = [
      "nbds://alice@[fe80::1%25eth0]:10809/a%20b?tls-certificates=/x&tls-type=psk",
      "nbds+unix:///disk?socket=/run/s&tls-hostname=h", "nbd+vsock://2:10809/x",
    ]
    var generator = Generator(state: 7)
    for round in 0..<Self.rounds {
      let bytes = Self.mutate(Array(honest[round % honest.count].utf8), &generator)
      let text = String(decoding: bytes, as: UTF8.self)
      do throws(NBDURIError) {
        let uri = try NBDURI(text)
        #expect(NBDURI.isURI(text))
        #expect(!uri.exportName.string.utf8.contains(0))
      } catch {
        #expect(error.description.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f })
      }
    }
  }

  @Test func clients() {
    let request = ServerNegotiationTests.request("disk", [0, 1, 2, 3])
    let honest =
      Wire.u32(3) + Wire.option(Wire.list) + Wire.option(Wire.info, request)
      + Wire.option(Wire.go, request)
    var generator = Generator(state: 8)
    for _ in 0..<Self.rounds {
      let served = ServerNegotiationTests.Served(Self.mutate(honest, &generator))
      #expect((served.outcome == nil) != (served.error == nil))
      #expect(served.longestRead <= Limits.default.optionLength)
    }
  }
}
