// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

/// A reply stream fed from bytes that are all known beforehand.
struct Replies {
  var stream: ReplyStream
  var events: [ReplyStream.Event] = []
  /// Data as it was placed: cookie, position, bytes.
  var data: [[UInt8]] = []
  var error: ReplyError?
  var unread = 0

  init(
    _ requests: [Request], _ bytes: [UInt8], _ agreement: Agreement = .status,
    limits: ReplyStream.Limits = .init()
  ) {
    stream = ReplyStream(agreement, limits: limits)
    for request in requests { stream.expect(request) }
    var rest = bytes[...]
    do throws(ReplyError) {
      feeding: while true {
        switch stream.step {
        case .control(let count):
          guard rest.count >= count else { break feeding }
          let bytes = Array(rest.prefix(count))
          rest = rest.dropFirst(count)
          try stream.received(bytes)
        case .data(let cookie, let position, let count):
          guard rest.count >= count else { break feeding }
          data.append([UInt8(cookie), UInt8(truncatingIfNeeded: position)] + rest.prefix(count))
          rest = rest.dropFirst(count)
          try stream.receivedData()
        }
        while let event = stream.nextEvent() { events.append(event) }
      }
    } catch {
      self.error = error
    }
    unread = rest.count
  }
}

extension Agreement {
  static let status = Agreement(
    structuredReplies: true, contexts: [MetaContext(identifier: 9, name: "base:allocation")])
}

extension Wire {
  static func chunk(
    _ type: UInt16, _ cookie: UInt64, done: Bool = true, _ payload: [UInt8] = [],
    length: UInt32? = nil
  ) -> [UInt8] {
    u32(0x668e_33ef) + u16(done ? 1 : 0) + u16(type) + u64(cookie)
      + u32(length ?? UInt32(payload.count)) + payload
  }
  static func simple(_ cookie: UInt64, error: UInt32 = 0) -> [UInt8] {
    u32(0x6744_6698) + u32(error) + u64(cookie)
  }
  static func offsetData(
    _ cookie: UInt64, _ offset: UInt64, _ data: [UInt8], done: Bool = true
  ) -> [UInt8] { chunk(1, cookie, done: done, u64(offset) + data) }
  static func hole(
    _ cookie: UInt64, _ offset: UInt64, _ count: UInt32, done: Bool = true
  ) -> [UInt8] { chunk(2, cookie, done: done, u64(offset) + u32(count)) }
  static func extents(
    _ cookie: UInt64, _ extents: [(UInt32, UInt32)], context: UInt32 = 9, done: Bool = true
  ) -> [UInt8] {
    chunk(5, cookie, done: done, u32(context) + extents.flatMap { u32($0.0) + u32($0.1) })
  }
  static func failure(
    _ cookie: UInt64, _ code: UInt32, _ text: String = "", done: Bool = true
  ) -> [UInt8] {
    chunk(0x8001, cookie, done: done, u32(code) + u16(UInt16(text.utf8.count)) + self.text(text))
  }
}

@Suite struct ReplyStreamTests {
  let read = Request(.read, cookie: 1, offset: 100, length: 8)
  let write = Request(.write, cookie: 2, offset: 0, length: 512)
  let status = Request(.blockStatus, cookie: 3, offset: 0, length: 4096)

  @Test func simpleReplies() {
    let run = Replies(
      [read, write], Wire.simple(2) + Wire.simple(1) + [1, 2, 3, 4, 5, 6, 7, 8], Agreement())
    #expect(run.data == [[1, 0, 1, 2, 3, 4, 5, 6, 7, 8]])
    #expect(run.events == [.finished(cookie: 2, nil), .finished(cookie: 1, nil)])
    #expect(run.stream.outstanding == 0)
  }

  @Test func simpleFailures() {
    let run = Replies([read, write], Wire.simple(1, error: 5) + Wire.simple(2, error: 28))
    #expect(
      run.events == [
        .finished(cookie: 1, RequestFailure(error: .eio)),
        .finished(cookie: 2, RequestFailure(error: .enospc)),
      ])
  }

  @Test func dataInPieces() {
    let run = Replies(
      [read],
      Wire.offsetData(1, 104, [5, 6], done: false) + Wire.hole(1, 106, 2, done: false)
        + Wire.offsetData(1, 100, [1, 2, 3, 4], done: false) + Wire.chunk(0, 1))
    #expect(run.data == [[1, 4, 5, 6], [1, 0, 1, 2, 3, 4]])
    #expect(
      run.events == [.zeroes(cookie: 1, position: 6, count: 2), .finished(cookie: 1, nil)])
  }

  @Test func repliesMayBeInterleaved() {
    let second = Request(.read, cookie: 4, offset: 0, length: 2)
    let run = Replies(
      [read, second, write],
      Wire.offsetData(1, 100, [1, 1, 1, 1], done: false) + Wire.offsetData(4, 0, [2, 2])
        + Wire.simple(2) + Wire.hole(1, 104, 4))
    #expect(run.error == nil)
    #expect(run.events.contains(.finished(cookie: 4, nil)))
    #expect(run.events.last == .finished(cookie: 1, nil))
  }

  @Test func extentsAreTold() {
    let run = Replies([status], Wire.extents(3, [(1024, 0), (1 << 30, 3)]))
    #expect(
      run.events == [
        .extents(
          cookie: 3, context: 9,
          [Extent(length: 1024, flags: 0), Extent(length: 1 << 30, flags: 3)]),
        .finished(cookie: 3, nil),
      ])
    #expect(Extent(length: 1, flags: 2).isZero && !Extent(length: 1, flags: 1).isZero)
  }

  @Test func failuresInChunks() {
    let place = Wire.chunk(
      0x8002, 1, Wire.u32(5) + Wire.u16(3) + Wire.text("bad") + Wire.u64(102))
    #expect(
      Replies([read], place).events
        == [.finished(cookie: 1, RequestFailure(error: .eio, text: "bad", offset: 102))])
    // The first counts; data may come all the same, and not all of it needs to.
    let run = Replies(
      [read],
      Wire.failure(1, 5, "first", done: false) + Wire.offsetData(1, 100, [1], done: false)
        + Wire.failure(1, 1, "second"))
    #expect(run.events == [.finished(cookie: 1, RequestFailure(error: .eio, text: "first"))])
    // An unknown error chunk begins like the known ones.
    let unknown = Wire.chunk(0x8777, 1, Wire.u32(4711) + Wire.u16(0) + [1, 2, 3])
    #expect(
      Replies([read], unknown).events == [.finished(cookie: 1, RequestFailure(error: .einval))])
    #expect(
      RequestFailure(error: .eio, text: "bad\u{1b}[2J").description.contains("\u{1b}") == false)
  }

  @Test func structuredAnswersToOtherRequests() {
    let run = Replies([write], Wire.chunk(0, 2))
    #expect(run.events == [.finished(cookie: 2, nil)])
  }

  // MARK: What breaks the protocol

  static let broken: [(String, [UInt8])] = [
    ("overlap", Wire.offsetData(1, 100, [1, 2], done: false) + Wire.offsetData(1, 101, [1])),
    ("the same hole", Wire.hole(1, 100, 8, done: false) + Wire.hole(1, 100, 8)),
    ("hole over data", Wire.offsetData(1, 103, [1], done: false) + Wire.hole(1, 100, 8)),
    ("before", Wire.offsetData(1, 99, [1])),
    ("behind", Wire.offsetData(1, 108, [1])),
    ("across the end", Wire.offsetData(1, 107, [1, 2])),
    ("offset overflow", Wire.offsetData(1, .max, [1])),
    ("hole across the end", Wire.hole(1, 101, 8)),
    ("hole overflow", Wire.hole(1, 107, .max)),
    ("hole of nothing", Wire.hole(1, 100, 0)),
    ("hole of 11 bytes", Wire.chunk(2, 1, length: 11)),
    ("no data", Wire.chunk(1, 1, Wire.u64(100))),
    ("longer than asked", Wire.chunk(1, 1, length: 17)),
    ("longest", Wire.chunk(1, 1, length: .max)),
    ("incomplete", Wire.offsetData(1, 100, [1, 2, 3])),
    ("nothing", Wire.chunk(0, 1)),
    ("none with payload", Wire.chunk(0, 1, [0])),
    ("none without done", Wire.chunk(0, 1, done: false)),
    ("unknown type", Wire.chunk(3, 1, [0])),
    ("unknown cookie", Wire.offsetData(77, 100, [1])),
    ("unknown cookie, simple", Wire.simple(77)),
    ("simple with data", Wire.simple(1) + [UInt8](repeating: 0, count: 8)),
    ("extents for a read", Wire.extents(1, [(8, 0)])),
    ("data for extents", Wire.offsetData(3, 0, [1])),
    ("data for a write", Wire.offsetData(2, 0, [1])),
    ("simple for extents", Wire.simple(3)),
    ("no extents", Wire.chunk(0, 3)),
    ("empty extents", Wire.chunk(5, 3, Wire.u32(9))),
    ("odd extents", Wire.chunk(5, 3, length: 13)),
    ("too many extents", Wire.chunk(5, 3, length: 4 + 8 * 0x10_0001)),
    ("extent of nothing", Wire.extents(3, [(0, 0)])),
    ("another context", Wire.extents(3, [(8, 0)], context: 8)),
    ("context twice", Wire.extents(3, [(8, 0)], done: false) + Wire.extents(3, [(8, 0)])),
    ("no error", Wire.failure(1, 0)),
    ("error too short", Wire.chunk(0x8001, 1, length: 5)),
    ("error text too long", Wire.chunk(0x8001, 1, length: 4111)),
    ("error text beyond", Wire.chunk(0x8001, 1, Wire.u32(5) + Wire.u16(4) + [1])),
    ("error with a rest", Wire.chunk(0x8001, 1, Wire.u32(5) + Wire.u16(0) + [1])),
    ("error nowhere", Wire.chunk(0x8002, 1, Wire.u32(5) + Wire.u16(0))),
    ("error outside", Wire.chunk(0x8002, 1, Wire.u32(5) + Wire.u16(0) + Wire.u64(109))),
    ("magic", Wire.text("HTTP/1.1 400 Bad")),
  ]

  @Test(arguments: broken) func isRefused(_ what: String, _ bytes: [UInt8]) {
    let run = Replies([read, write, status], bytes)
    #expect(run.error != nil, "\(what)")
  }

  @Test func chunksNotAgreedOn() {
    let run = Replies([read], Wire.hole(1, 100, 8), Agreement())
    #expect(run.error?.message.contains("not negotiated") == true)
  }

  @Test func answersTwice() {
    #expect(Replies([write], Wire.simple(2) + Wire.simple(2)).error != nil)
    #expect(Replies([read], Wire.hole(1, 100, 8) + Wire.hole(1, 100, 8)).error != nil)
  }

  @Test func lengthsAreRefusedBeforeTheyAreRead() {
    let run = Replies([read], Wire.chunk(1, 1, length: .max) + [1, 2, 3])
    #expect(run.error != nil)
    #expect(run.unread == 3)
  }

  @Test func chunksAreCounted() {
    var limits = ReplyStream.Limits()
    limits.chunks = 3
    let error = Wire.failure(1, 5, done: false)
    #expect(Replies([read], error + error + Wire.failure(1, 5), limits: limits).error == nil)
    #expect(Replies([read], error + error + error + error, limits: limits).error != nil)
  }

  @Test func coverageInAnyOrder() {
    var state: UInt64 = 42
    func dice(_ n: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % n
    }
    for _ in 0..<200 {
      let request = Request(.read, cookie: 1, offset: 1000, length: 64)
      var cuts = Set((0..<dice(12)).map { _ in dice(64) })
      cuts.formUnion([0, 64])
      let sorted = cuts.sorted()
      var pieces = Array(zip(sorted, sorted.dropFirst()))
      for index in pieces.indices.reversed() { pieces.swapAt(index, dice(index + 1)) }
      var bytes: [UInt8] = []
      for (start, end) in pieces {
        bytes +=
          dice(2) == 0
          ? Wire.hole(1, UInt64(1000 + start), UInt32(end - start), done: false)
          : Wire.offsetData(
            1, UInt64(1000 + start), [UInt8](repeating: 1, count: end - start), done: false)
      }
      let run = Replies([request], bytes + Wire.chunk(0, 1))
      #expect(run.events.last == .finished(cookie: 1, nil))
      let (start, end) = pieces[dice(pieces.count)]
      let again = Wire.hole(1, UInt64(1000 + start), UInt32(end - start), done: false)
      #expect(Replies([request], bytes + again).error != nil)
    }
  }

  /// Damaged and random replies end in an error or wait for more; they never trap.
  @Test func randomBytes() {
    var state: UInt64 = 7
    func byte() -> UInt8 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 33)
    }
    let honest =
      Wire.offsetData(1, 100, [1, 2, 3, 4], done: false) + Wire.hole(1, 104, 4)
      + Wire.extents(3, [(8, 0), (4088, 3)]) + Wire.failure(2, 5, "text")
    for _ in 0..<5000 {
      var bytes = honest
      for _ in 0...(byte() % 4) { bytes[Int(byte()) % bytes.count] ^= 1 << (byte() % 8) }
      let run = Replies([read, write, status], bytes)
      #expect(run.events.count <= 16)
    }
  }
}
