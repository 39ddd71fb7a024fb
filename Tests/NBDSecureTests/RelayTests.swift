// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import TestSupport
import Testing

@testable import NBDSecure

@Suite struct RelayTests {
  @Test func readsWritesAndDisconnects() throws {
    let rig = try RelayRig()
    rig.lane.run()
    let pattern = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    #expect(try rig.client.call(.write, offset: 8192, length: 4096, payload: pattern).0 == nil)
    let (error, data) = try rig.client.call(.read, offset: 8192, length: 4096)
    #expect(error == nil)
    #expect(data == pattern)
    #expect(try rig.client.call(.flush).0 == nil)
    try rig.client.send(.disc)
    guard case .disconnected = rig.outcome() else {
      Issue.record("the relay did not end with NBD_CMD_DISC")
      return
    }
    let deadline = Deadline.after(seconds: 60)
    while rig.server.commands.last != .disc, !deadline.hasPassed { sleep(seconds: 0.01) }
    #expect(rig.server.commands.last == .disc)
  }

  @Test(arguments: [
    (Command.read, 1 << 20, 1, NBDError.einval), (.write, (1 << 20) - 1, 2, .enospc),
    (.trim, 0, 0, .einval), (.blockStatus, 0, 512, .einval),
  ])
  func refusesWhatCannotBe(
    command: Command, offset: Int, length: Int, error: NBDError
  ) throws {
    let rig = try RelayRig()
    rig.lane.run()
    let payload = command == .write ? [UInt8](repeating: 1, count: length) : []
    #expect(
      try rig.client.call(command, offset: offset, length: length, payload: payload).0 == error)
    // And goes on afterwards.
    #expect(try rig.client.call(.read, offset: 0, length: 512).0 == nil)
    #expect(rig.server.commands == [.read])
  }

  /// Requests of one byte up to the maximum, ours and a server's, whole in both directions.
  @Test(arguments: [Relay.Limits.maximumRequest, 64 << 10, 4096])
  func passesRequestsUpToTheMaximum(maximum: UInt32) throws {
    let rig = try RelayRig(size: 20 << 20, maximumRequest: maximum, link: .tls13)
    rig.lane.run()
    let limit = Int(maximum)
    let noise = RelayRig.noise(limit + 1)
    let lengths =
      [1, 2, 511, 512, 513, 16_356, 16_384, 65_535, 65_536, 65_537, 262_144, 1 << 20]
      .filter { $0 < limit } + [limit - 1, limit]
    for (number, length) in lengths.enumerated() {
      let offset = number * 4099
      let payload = Array(noise[..<length])
      #expect(
        try rig.client.call(.write, offset: offset, length: length, payload: payload).0 == nil)
      let (error, data) = try rig.client.call(.read, offset: offset, length: length)
      #expect(error == nil)
      #expect(data == payload, "\(length) bytes")
      #expect(Array(rig.server.contents[offset..<(offset + length)]) == payload)
    }
    let before = rig.server.commands.count
    #expect(try rig.client.call(.read, offset: 0, length: limit + 1).0 == .einval)
    #expect(
      try rig.client.call(.write, offset: 0, length: limit + 1, payload: noise).0 == .einval)
    #expect(rig.server.commands.count == before)
    #expect(try rig.client.call(.read, offset: 0, length: 1).1 == [noise[0]])
  }

  /// What is written with FUA is stable when it is answered, also where nothing is kept for a
  /// repetition.
  @Test func writesWithFUAAreStable() throws {
    let rig = try RelayRig(flushWindow: 0)
    rig.lane.run()
    let noise = RelayRig.noise(3000)
    try rig.client.write(512, noise, flags: .fua)
    #expect(try rig.client.reply().error == nil)
    try rig.client.write(8192, noise)
    #expect(try rig.client.reply().error == nil)
    rig.server.crash()
    let stable = rig.server.stableContents
    #expect(Array(stable[512..<3512]) == noise)
    #expect(stable[8192..<11_192].allSatisfy { $0 == 0 }, "the server flushes everything")
  }

  @Test func acknowledgedWritesSurviveALostCache() throws {
    let rig = try RelayRig()
    rig.lane.run()
    let old = [UInt8](repeating: 1, count: 4096)
    let new = [UInt8](repeating: 2, count: 4096)
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: old).0 == nil)
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: new).0 == nil)
    rig.server.crash()
    guard case .lost = rig.outcome() else {
      Issue.record("the relay did not notice the crash")
      return
    }
    let (repeated, failed) = try rig.reconnect()
    #expect(repeated == 1)
    #expect(failed == 0)
    #expect(try rig.client.call(.flush).0 == nil)
    #expect(Array(rig.server.stableContents[0..<4096]) == new)
    // Nothing is kept after the FLUSH.
    rig.server.crash()
    _ = rig.outcome()
    #expect(try rig.reconnect().0 == 0)
  }

  /// A kept write lies across the ring's end, beyond what the ring mirrors, and is repeated whole.
  @Test func aWriteAcrossTheEndOfTheRingIsRepeated() throws {
    let length = 3 << 20
    let rig = try RelayRig(size: length, flushWindow: 8 << 20)
    rig.lane.run()
    let pattern = (0..<(length + 256)).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
    func payload(_ number: Int) -> [UInt8] { Array(pattern[number..<(number + length)]) }
    #expect(try rig.client.call(.write, offset: 0, length: length, payload: payload(0)).0 == nil)
    var cut = 0
    for number in 1...(2 * rig.ringCapacity / length) {
      // Both at once: with nothing to keep the ring would begin anew.
      let flush = Request(.flush, flags: [], cookie: 1, offset: 0, length: 0)
      let write = Request(.write, flags: [], cookie: 2, offset: 0, length: UInt32(length))
      try sendAll(
        flush.encoded + write.encoded + payload(number), to: rig.client.socket.raw,
        until: .after(seconds: 60))
      for _ in 0..<2 { #expect(try rig.client.reply().error == nil) }
      let isStable = rig.server.stableContents == payload(number - 1)
      #expect(isStable, "the write number \(number - 1)")
      rig.server.crash()
      _ = rig.outcome()
      let kept = rig.relay.journal[rig.relay.journal.first].start
      if rig.relay.ring.run(from: kept).count < length { cut += 1 }
      #expect(try rig.reconnect() == (1, 0))
    }
    #expect(cut > 0)
  }

  @Test func aWriteThatCannotBeRepeatedFailsTheNextFlush() throws {
    let rig = try RelayRig()
    rig.lane.run()
    let bytes = [UInt8](repeating: 1, count: 4096)
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: bytes).0 == nil)
    rig.server.crash()
    _ = rig.outcome()
    rig.server.failWrites = true
    #expect(try rig.reconnect() == (1, 1))
    #expect(try rig.client.call(.flush).0 == .eio)
    #expect(try rig.client.call(.flush).0 == nil)
  }

  /// The connection ends within a read's reply, at every kind of place.
  @Test(arguments: [0, 1, 15, 16, 17, 4096, 60_000, 65_551])
  func aHalfDeliveredReadIsFinished(cut: Int) throws {
    let rig = try RelayRig()
    rig.lane.run()
    let pattern = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 / 3) }
    #expect(try rig.client.call(.write, offset: 0, length: 65_536, payload: pattern).0 == nil)
    rig.server.cutReadAfter = cut
    let read = try rig.client.send(.read, offset: 0, length: 65_536)
    let other = try rig.client.send(.flush)
    guard case .lost = rig.outcome() else {
      Issue.record("the relay did not notice the end")
      return
    }
    _ = try rig.reconnect()
    let first = try rig.client.reply()
    #expect(first.cookie == read)
    #expect(first.error == nil)
    #expect(try rig.client.data(65_536) == pattern)
    let second = try rig.client.reply()
    #expect(second.cookie == other)
    #expect(second.error == nil)
  }

  @Test func flushesByItselfWhenTheWindowIsFull() throws {
    let rig = try RelayRig(size: 8 << 20, flushWindow: 1 << 20)
    rig.lane.run()
    let bytes = [UInt8](repeating: 3, count: 256 << 10)
    for number in 0..<32 {
      #expect(
        try rig.client.call(.write, offset: number << 18, length: 256 << 10, payload: bytes).0
          == nil)
    }
    #expect(rig.server.commands.contains(.flush))
    #expect(rig.server.contents.allSatisfy { $0 == 3 })
  }

  /// A FLUSH that takes its time, while more is written: the next one waits for a full window.
  @Test func flushesOnceForEachWindow() throws {
    let rig = try RelayRig(size: 4 << 20, flushWindow: 1 << 20)
    rig.server.flushesBehindWrites = 4
    rig.lane.run()
    let bytes = [UInt8](repeating: 3, count: 64 << 10)
    for number in 0..<60 {
      #expect(
        try rig.client.call(.write, offset: number << 16, length: 64 << 10, payload: bytes).0
          == nil)
    }
    #expect(rig.server.commands.filter { $0 == .flush }.count == 3)
  }

  /// A connection that is to be replaced answers what was sent, and takes nothing more.
  @Test func aDrainedRelayHasNothingInFlight() throws {
    let rig = try RelayRig()
    rig.server.holds = true
    rig.lane.run()
    let first = try rig.client.send(.read, offset: 0, length: 512)
    #expect(eventually(within: 20) { rig.server.commands.count == 1 })
    rig.relay.drain()
    #expect(eventually(within: 20) { (try? rig.relay.wake.wait(until: .after(seconds: 0))) == nil })
    let second = try rig.client.send(.read, offset: 512, length: 512)
    rig.server.holds = false
    guard case .drained = rig.outcome() else {
      Issue.record("the relay was not drained")
      return
    }
    #expect(rig.relay.inFlight.isEmpty)
    #expect(try rig.client.reply().cookie == first)
    _ = try rig.client.data(512)
    #expect(rig.server.commands.count == 1)
    _ = try rig.reconnect()
    #expect(try rig.client.reply().cookie == second)
  }

  @Test func aSilentServerIsLost() throws {
    let rig = try RelayRig(ioTimeout: 0.3)
    rig.server.holds = true
    rig.lane.run()
    try rig.client.send(.read, offset: 0, length: 512)
    guard case .lost(let why) = rig.outcome() else {
      Issue.record("the relay waits for ever")
      return
    }
    #expect(why.reason.contains("no reply"))
  }

  @Test func withoutAServerEverythingFails() throws {
    let rig = try RelayRig()
    rig.server.holds = true
    rig.lane.run()
    let read = try rig.client.send(.read, offset: 0, length: 512)
    #expect(eventually(within: 20) { rig.server.commands.count == 1 })
    rig.server.crash()
    _ = rig.outcome()
    rig.relay.settleUnfinishedReply()
    rig.lane.refuse()
    let reply = try rig.client.reply()
    #expect(reply.cookie == read)
    #expect(reply.error == .eio)
    let payload = [UInt8](repeating: 0, count: 512)
    #expect(try rig.client.call(.write, offset: 0, length: 512, payload: payload).0 == .eio)
    #expect(try rig.client.call(.flush).0 == .eio)
    // And works again when the server is back.
    rig.server.holds = false
    rig.lane.park()
    _ = try rig.reconnect()
    #expect(try rig.client.call(.read, offset: 0, length: 512).0 == nil)
  }

  @Test(arguments: [
    [UInt8](repeating: 0, count: 16),
    SimpleReply(cookie: 0xdead_beef).encoded,
    [0x66, 0x8e, 0x33, 0xef] + [UInt8](repeating: 0, count: 16),
  ])
  func aServerThatBreaksTheProtocolIsLost(bytes: [UInt8]) throws {
    let rig = try RelayRig()
    let pair = try SocketPair()
    let server = pair.second.release()
    rig.relay.channel = PlainChannel(pair.first)
    rig.lane.run()
    try rig.client.send(.read, offset: 0, length: 512)
    try sendAll(bytes, to: server, until: .after(seconds: 60))
    guard case .lost(let why) = rig.outcome() else {
      Issue.record("the relay believed it")
      return
    }
    #expect(why.brokeProtocol)
    close(server)
  }
}

/// Ways in which a relay could lose or damage data, each found by attacking it.
@Suite struct RelayIntegrityTests {
  /// What a FLUSH on another lane covered may have been written over since: it is not repeated.
  @Test func whatAnotherLaneFlushedIsNotRepeated() throws {
    let rig = try RelayRig()
    rig.lane.run()
    let old = [UInt8](repeating: 1, count: 512)
    #expect(try rig.client.call(.write, offset: 0, length: 512, payload: old).0 == nil)
    // Another lane's FLUSH, as its relay publishes it; this relay has had nothing to do since.
    rig.clock.publishFlush(of: rig.clock.current)
    rig.server.crash(losingCache: false)
    _ = rig.outcome()
    #expect(try rig.reconnect().0 == 0)
  }

  /// Headers of reads share the ring with writes that are kept: they must not fill it for good.
  @Test func readsBehindAnUnflushedWriteGoOn() throws {
    let rig = try RelayRig(flushWindow: 1 << 20)
    rig.lane.run()
    let bytes = [UInt8](repeating: 1, count: 512)
    #expect(try rig.client.call(.write, offset: 0, length: 512, payload: bytes).0 == nil)
    // More headers than the ring is long.
    let total = rig.ringCapacity / Request.size + 1000
    var done = 0
    while done < total {
      for _ in 0..<200 { try rig.client.send(.trim, offset: 1 << 30, length: 512) }
      for _ in 0..<50 { try rig.client.send(.read, offset: 0, length: 1) }
      for _ in 0..<250 {
        let reply = try rig.client.reply()
        if reply.error == nil { _ = try rig.client.data(1) }
      }
      done += 250
    }
    #expect(try rig.client.call(.flush).0 == nil)
  }

  /// Payloads of refused writes must not fill the ring behind writes that are kept.
  @Test func refusedPayloadsGiveTheRingBack() throws {
    let rig = try RelayRig(size: 1 << 20, flushWindow: 4 << 20)
    rig.lane.run()
    let kept = [UInt8](repeating: 7, count: 4096)
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: kept).0 == nil)
    let large = [UInt8](repeating: 1, count: 1 << 20)
    for _ in 0..<40 {
      #expect(
        try rig.client.call(.write, offset: 4096, length: 1 << 20, payload: large).0 == .enospc)
    }
    #expect(try rig.client.call(.read, offset: 0, length: 4096).1 == kept)
    rig.server.crash()
    _ = rig.outcome()
    #expect(try rig.reconnect().0 <= 1)
    #expect(try rig.client.call(.read, offset: 0, length: 4096).1 == kept)
  }

  @Test func withoutAServerRefusedWritesNeverEnd() throws {
    let rig = try RelayRig(size: 64 << 20)
    rig.lane.run()
    let kept = [UInt8](repeating: 7, count: 4096)
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: kept).0 == nil)
    rig.server.crash()
    _ = rig.outcome()
    rig.relay.settleUnfinishedReply()
    rig.lane.refuse()
    let large = [UInt8](repeating: 1, count: 2 << 20)
    for _ in 0..<40 {
      #expect(try rig.client.call(.write, offset: 0, length: 2 << 20, payload: large).0 == .eio)
    }
    rig.lane.park()
    #expect(try rig.reconnect() == (1, 0))
    #expect(try rig.client.call(.flush).0 == nil)
    #expect(try rig.client.call(.read, offset: 0, length: 4096).1 == kept)
  }

  /// A server that answers nothing costs the ring and the sockets' buffers, and no more; when it
  /// answers, everything is there.
  @Test func aServerThatAnswersNothingIsWaitedFor() throws {
    let rig = try RelayRig(size: 64 << 20, flushWindow: 1 << 20)
    rig.server.holds = true
    rig.lane.run()
    let length = 256 << 10
    let noise = RelayRig.noise(length + 256)
    let enough = 4 << 20
    var queued = 0
    var rest: [UInt8] = []
    while queued < 200 {
      if rest.isEmpty {
        rest =
          Request(
            .write, cookie: UInt64(queued), offset: UInt64(queued * length), length: UInt32(length)
          ).encoded + noise[queued..<(queued + length)]
        queued += 1
      }
      // What takes nothing for so long is full; before that it only stands still.
      let seconds = queued * length > enough ? 2.0 : 60
      do { rest.removeFirst(try rig.client.sendWhatFits(rest, within: seconds)) } catch { break }
    }
    let capacity = rig.ringCapacity
    #expect(queued * length > enough)
    #expect(queued * length < capacity + (8 << 20), "\(queued * length) of \(capacity)")
    rig.server.holds = false
    try sendAll(rest, to: rig.client.socket.raw, until: .after(seconds: 60))
    for _ in 0..<queued { #expect(try rig.client.reply().error == nil) }
    let contents = rig.server.contents
    for number in 0..<queued {
      #expect(
        contents[(number * length)..<((number + 1) * length)]
          == noise[number..<(number + length)], "write \(number)")
    }
  }

  /// With a reply half delivered nothing else may be written: the plain side ends.
  @Test func aHalfDeliveredReplyIsNeverFollowedByRefusals() throws {
    let rig = try RelayRig()
    rig.server.holds = true
    rig.lane.run()
    var reads: [UInt64] = []
    for _ in 0..<100 { reads.append(try rig.client.send(.read, offset: 0, length: 4096)) }
    #expect(eventually(within: 20) { rig.server.commands.count == 100 })
    rig.server.cutReadAfter = 1000
    rig.server.holds = false
    _ = rig.outcome()
    rig.relay.settleUnfinishedReply()
    rig.lane.refuse()
    guard case .plainClosed = rig.outcome() else {
      Issue.record("the relay went on")
      return
    }
    // What came is the beginning of one reply, and then the end.
    #expect(try rig.client.reply().cookie == reads[0])
    #expect(try rig.client.data(4096).count == 1000 - SimpleReply.size)
    #expect(rig.lane.hasDeadPlainSide)
  }

  @Test func aServerThatShutsDownLosesNothing() throws {
    let rig = try RelayRig()
    rig.lane.run()
    let bytes = [UInt8](repeating: 7, count: 4096)
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: bytes).0 == nil)
    rig.server.crash()
    _ = rig.outcome()
    rig.server.writeError = .eshutdown
    #expect(throws: LinkLost.self) { try rig.reconnect() }
    rig.server.writeError = nil
    #expect(try rig.reconnect() == (1, 0))
    #expect(try rig.client.call(.flush).0 == nil)
    #expect(Array(rig.server.stableContents[0..<4096]) == bytes)
  }
}
