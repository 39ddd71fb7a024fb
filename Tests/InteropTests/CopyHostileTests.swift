// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// A request as a fake server sees it.
private struct Asked {
  let command: UInt16
  let cookie: [UInt8]
  let offset: UInt64
  let length: UInt32
}

/// A server with structured replies and block status whose replies the test makes up.
private func export(
  size: UInt64 = 1 << 20, contexts: Bool = true, _ answer: @escaping @Sendable (Asked) -> [UInt8]
) throws -> FakeServer {
  let identity = try PKI.shared.get().identity
  return try FakeServer { client in
    try client.greet()
    try client.acceptTLS(identity)
    options: while true {
      let option = try client.receiveOption()
      switch option.number {
      case 8: try client.send(Wire.reply(to: 8, Wire.Reply.ack))
      case 10:
        if contexts {
          try client.send(Wire.reply(to: 10, 4, Wire.be(UInt32(1)) + Array("base:allocation".utf8)))
        }
        try client.send(Wire.reply(to: 10, Wire.Reply.ack))
      case Wire.Option.go:
        try client.send(
          Wire.reply(to: Wire.Option.go, Wire.Reply.info, Wire.exportInfo(size: size)))
        try client.send(Wire.reply(to: Wire.Option.go, Wire.Reply.ack))
        break options
      default: try client.send(Wire.reply(to: option.number, Wire.Reply.errUnsupported))
      }
    }
    while true {
      let header = try client.receive(28)
      let asked = Asked(
        command: UInt16(Wire.integer(header[6..<8])), cookie: Array(header[8..<16]),
        offset: Wire.integer(header[16..<24]), length: UInt32(Wire.integer(header[24..<28])))
      if asked.command == 2 { return }
      try client.send(answer(asked))
    }
  }
}

private func chunk(
  _ type: UInt16, _ asked: Asked, done: Bool = true, _ payload: [UInt8] = [],
  length: UInt32? = nil
) -> [UInt8] {
  Wire.be(UInt32(0x668e_33ef)) + Wire.be(UInt16(done ? 1 : 0)) + Wire.be(type) + asked.cookie
    + Wire.be(length ?? UInt32(payload.count)) + payload
}

private func honest(_ asked: Asked) -> [UInt8] {
  asked.command == 7
    ? chunk(5, asked, Wire.be(UInt32(1)) + Wire.be(asked.length) + Wire.be(UInt32(0)))
    : chunk(
      1, asked, Wire.be(asked.offset) + [UInt8](repeating: 7, count: Int(asked.length)))
}

/// Servers that lie in structured replies, or change their mind.
@Suite struct CopyHostileTests {
  private func copy(_ server: FakeServer, _ more: [String] = [], to path: String) throws -> Outcome
  {
    let pki = try PKI.shared.get()
    return try nbdSecure(
      ["copy", "--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(server.port)"]
        + ["--tls-creds", pki.trustOnly, "--to", path] + more)
  }

  @Test func honestOnesAreUnderstood() throws {
    let directory = try TemporaryDirectory()
    // Extents far beyond the export, data in pieces and out of order, a hole in between.
    let server = try export { asked in
      if asked.command == 7 {
        return chunk(
          5, asked,
          Wire.be(UInt32(1)) + Wire.be(UInt32(4096)) + Wire.be(UInt32(3))
            + Wire.be(UInt32.max) + Wire.be(UInt32(0)))
      }
      let half = asked.length / 2
      return chunk(
        1, asked, done: false,
        Wire.be(asked.offset + UInt64(half))
          + [UInt8](repeating: 7, count: Int(asked.length - half)))
        + chunk(2, asked, Wire.be(asked.offset) + Wire.be(half))
    }
    let seen = try copy(server, to: directory.file("out"))
    #expect(seen.status == 0, "\(seen)")
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: directory.file("out"))))
    #expect(bytes.count == 1 << 20)
    #expect(bytes[..<4096].allSatisfy { $0 == 0 } && bytes.last == 7)
  }

  private static let lies: [(String, @Sendable (Asked) -> [UInt8])] = [
    ("outside", { chunk(1, $0, Wire.be($0.offset + UInt64($0.length)) + [1]) }),
    ("before", { chunk(1, $0, Wire.be($0.offset &- 1) + [1, 2]) }),
    ("incomplete", { chunk(1, $0, Wire.be($0.offset) + [1]) }),
    ("nothing", { chunk(0, $0) }),
    ("endless", { chunk(1, $0, length: .max) }),
    (
      "overlap",
      {
        chunk(2, $0, done: false, Wire.be($0.offset) + Wire.be(UInt32(8)))
          + chunk(2, $0, Wire.be($0.offset + 4) + Wire.be(UInt32(8)))
      }
    ),
    ("hole beyond", { chunk(2, $0, Wire.be($0.offset) + Wire.be($0.length + 1)) }),
    ("unknown type", { chunk(6, $0, [1, 2, 3]) }),
    (
      "simple",
      {
        Wire.be(UInt32(0x6744_6698)) + Wire.be(UInt32(0)) + $0.cookie
          + [UInt8](repeating: 0, count: Int($0.length))
      }
    ),
    (
      "another cookie",
      {
        chunk(0, Asked(command: 0, cookie: [9, 9, 9, 9, 9, 9, 9, 9], offset: 0, length: 0))
          + honest($0)
      }
    ),
    (
      "extents for data",
      { chunk(5, $0, Wire.be(UInt32(1)) + Wire.be(UInt32(8)) + Wire.be(UInt32(0))) }
    ),
  ]

  @Test(arguments: lies.indices) func liesAreNoticed(_ index: Int) throws {
    let (what, lie) = Self.lies[index]
    let directory = try TemporaryDirectory()
    let server = try export { $0.command == 7 ? honest($0) : lie($0) }
    let seen = try copy(server, to: directory.file("out"))
    #expect(seen.deviations(status: 76, saying: ["localhost"]) == [], "\(what)")
    #expect(access(directory.file("out"), F_OK) != 0)
  }

  private static let falseExtents: [(String, @Sendable (Asked) -> [UInt8])] = [
    ("none", { chunk(5, $0, Wire.be(UInt32(1))) }),
    ("no length", { chunk(5, $0, Wire.be(UInt32(1)) + Wire.be(UInt64(0))) }),
    ("context", { chunk(5, $0, Wire.be(UInt32(2)) + Wire.be(UInt32(8)) + Wire.be(UInt32(0))) }),
    ("a million and one", { chunk(5, $0, length: 4 + 8 * 0x10_0001) }),
    ("nothing", { chunk(0, $0) }),
  ]

  @Test(arguments: falseExtents.indices) func extentsThatAreNone(_ index: Int) throws {
    let (what, lie) = Self.falseExtents[index]
    let directory = try TemporaryDirectory()
    let server = try export { $0.command == 7 ? lie($0) : honest($0) }
    let seen = try copy(server, to: directory.file("out"))
    #expect(seen.deviations(status: 76, saying: ["localhost"]) == [], "\(what)")
  }

  /// Tiny extents, none of which is a whole block, and a refusal: everything is data then.
  @Test func extentsOfLittleUse() throws {
    let directory = try TemporaryDirectory()
    let tiny = try export { asked in
      asked.command == 7
        ? chunk(
          5, asked,
          Wire.be(UInt32(1))
            + (0..<9).flatMap { Wire.be(UInt32(100)) + Wire.be(UInt32($0 % 2 == 0 ? 3 : 0)) })
        : honest(asked)
    }
    let seen = try copy(tiny, to: directory.file("tiny"))
    #expect(seen.status == 0, "\(seen)")
    let refused = try export { asked in
      asked.command == 7
        ? chunk(0x8001, asked, Wire.be(UInt32(95)) + Wire.be(UInt16(0))) : honest(asked)
    }
    #expect(try copy(refused, to: directory.file("refused")).status == 0)
    #expect(try difference(directory.file("tiny"), directory.file("refused")) == "")
  }

  @Test func verifyFindsTheByte() throws {
    let directory = try TemporaryDirectory()
    let reads = Counter()
    let server = try export(contexts: false) { asked in
      var reply = honest(asked)
      // Read again, one byte is another.
      if asked.offset == 512 << 10, reads.next() > 1 { reply[20 + 8 + 1234] ^= 1 }
      return reply
    }
    let path = directory.file("out")
    let seen = try copy(server, ["--verify"], to: path)
    #expect(seen.deviations(status: 74, saying: ["differs", "\((512 << 10) + 1234)"]) == [])
    #expect(access(path, F_OK) != 0)
    #expect(access(path + ".nbd-secure-resume", F_OK) != 0)
    // The same server that keeps its word.
    let good = try export(contexts: false, honest)
    #expect(try copy(good, ["--verify"], to: path).status == 0)
  }

  @Test func errorsKeepTheServersWords() throws {
    let directory = try TemporaryDirectory()
    let server = try export { asked in
      asked.command == 7
        ? honest(asked)
        : chunk(
          0x8002, asked,
          Wire.be(UInt32(5)) + Wire.be(UInt16(11)) + Array("bad\u{1b}[2Jdisk".utf8)
            + Wire.be(asked.offset + 5))
    }
    let seen = try copy(server, to: directory.file("out"))
    #expect(
      seen.deviations(status: 74, saying: ["reading", "EIO", "disk"], hinting: "--resume") == [])
    #expect(!seen.stderr.contains("\u{1b}"))
  }
}

/// Counts from 1, from any thread.
private final class Counter: @unchecked Sendable {
  private let lock = NSLock()
  private var count = 0
  func next() -> Int {
    lock.withLock {
      count += 1
      return count
    }
  }
}
