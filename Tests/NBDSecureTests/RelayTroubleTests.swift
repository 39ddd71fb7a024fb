// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import TestSupport
import Testing

@testable import NBDSecure

/// Full rings, paused clients, servers that cheat: what must neither hang nor be believed.
@Suite(.serialized) struct RelayTroubleTests {
  /// The ring is full of writes that are acknowledged and not flushed when the kernel gives up
  /// its socket: what was read and dropped is never given back.
  @Test func aFullRingIsGivenBackWithThePlainSide() throws {
    let rig = try RelayRig(size: 64 << 20, flushWindow: 1 << 20)
    rig.server.ignoresFlush = true
    rig.lane.run()
    let bytes = [UInt8](repeating: 3, count: 64 << 10)
    let each = Request.size + bytes.count
    let fit = rig.ringCapacity / each
    for number in 0..<fit {
      #expect(
        try rig.client.call(.write, offset: number << 16, length: 64 << 10, payload: bytes).0 == nil
      )
    }
    _ = try rig.client.write(fit << 16, bytes)
    Thread.sleep(forTimeInterval: 0.3)
    // The kernel gives up; the supervisor hands over a fresh socket, and the server comes back.
    rig.lane.park()
    rig.relay.settleUnfinishedReply()
    let client = ModelClient(Descriptor(owning: try rig.relay.makePlainSide()))
    rig.server.crash(losingCache: false)
    rig.server.ignoresFlush = false
    _ = try rig.reconnect()
    try client.send(.read, offset: 0, length: 512)
    #expect(throws: Never.self) {
      _ = try LinuxIO.wait(client.socket, for: .read, until: .after(seconds: 60))
    }
  }

  /// The same without a server for good: requests must fail.
  @Test func aFullRingDoesNotKeepRequestsFromFailing() throws {
    let rig = try RelayRig(size: 64 << 20, flushWindow: 1 << 20)
    rig.server.ignoresFlush = true
    rig.lane.run()
    let bytes = [UInt8](repeating: 3, count: 64 << 10)
    let fit = rig.ringCapacity / (Request.size + bytes.count)
    for number in 0..<fit {
      #expect(
        try rig.client.call(.write, offset: number << 16, length: 64 << 10, payload: bytes).0 == nil
      )
    }
    _ = try rig.client.write(fit << 16, bytes)
    Thread.sleep(forTimeInterval: 0.3)
    rig.lane.park()
    rig.relay.settleUnfinishedReply()
    let client = ModelClient(Descriptor(owning: try rig.relay.makePlainSide()))
    rig.lane.refuse()
    try client.send(.read, offset: 0, length: 512)
    #expect(throws: Never.self) {
      _ = try LinuxIO.wait(client.socket, for: .read, until: .after(seconds: 60))
    }
  }

  /// A ring that ends within a request's header, all of it unanswered at that time.
  @Test func aRingThatEndsInAHeaderGoesOn() throws {
    let rig = try RelayRig(size: 64 << 20, flushWindow: 1 << 20)
    let server = try HoldingServer()
    rig.relay.channel = PlainChannel(Descriptor(owning: server.far))
    rig.lane.run()
    let large = [UInt8](repeating: 1, count: 1 << 20)
    var left = rig.ringCapacity
    var writes = 2
    while left > 2 << 20 {
      _ = try rig.client.write(0, large)
      left -= large.count + Request.size
      writes += 1
    }
    // What is left, but for 12 bytes.
    let last = (left - 12 - 2 * Request.size) / 2
    _ = try rig.client.write(0, Array(repeating: 1, count: last))
    _ = try rig.client.write(0, Array(repeating: 1, count: left - 12 - 2 * Request.size - last))
    let read = try rig.client.send(.read, offset: 0, length: 512)
    #expect(eventually(within: 10) { server.count == writes })
    Thread.sleep(forTimeInterval: 0.2)
    server.answerAll()
    var cookies: [UInt64] = []
    #expect(throws: Never.self) {
      while cookies.last != read {
        _ = try LinuxIO.wait(rig.client.socket, for: .read, until: .after(seconds: 60))
        cookies.append(try rig.client.reply().cookie)
      }
    }
  }

  /// A plain side that did not read for longer than the I/O timeout is not the server's fault.
  @Test func aPausedClientDoesNotCostTheServer() throws {
    let rig = try RelayRig(size: 16 << 20, ioTimeout: 60)
    rig.lane.run()
    for number in 0..<128 {
      try rig.client.send(.read, offset: number << 16, length: 64 << 10)
    }
    let isBlocked = eventually(within: 20) {
      rig.lane.park()
      if rig.relay.plainBlocked { return true }
      rig.lane.run()
      return false
    }
    try #require(isBlocked)
    // All of it long ago: when the requests were sent, and when replies were last taken.
    var index = rig.relay.inFlight.oldest
    #expect(index >= 0)
    while index >= 0 {
      rig.relay.inFlight[index].sentAt = 0
      index = rig.relay.inFlight.next(after: index)
    }
    rig.relay.unblockedAt = 0
    rig.lane.run()
    #expect(throws: Never.self) {
      for _ in 0..<128 {
        _ = try rig.client.reply()
        _ = try rig.client.data(64 << 10)
      }
    }
    if case .lost(let why)? = rig.lane.takeOutcome() { Issue.record("lost: \(why.reason)") }
  }

  /// A repetition that is cut short (and we are killed then) must not bring old data back on a
  /// server that had lost nothing.
  @Test func aCutRepetitionDoesNotUndoWrites() throws {
    let rig = try RelayRig()
    rig.lane.run()
    let old = [UInt8](repeating: 1, count: 4096)
    let new = [UInt8](repeating: 2, count: 4096)
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: old).0 == nil)
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: new).0 == nil)
    rig.server.crash(losingCache: false)
    _ = rig.outcome()
    #expect(Array(rig.server.contents[0..<4096]) == new)
    rig.server.endsAfterWrites = 1
    _ = try? rig.reconnect()
    // kill -9 here.
    #expect(rig.server.contents[0] == 2)
  }

  /// Parked while it fails requests towards a plain side that does not read: the relay's own
  /// FLUSH is forgotten, and none is ever sent again.
  @Test func anInterruptedRefusalForgetsItsFlushWhole() throws {
    let rig = try RelayRig(size: 16 << 20, ioTimeout: 60)
    rig.lane.run()
    let bytes = [UInt8](repeating: 1, count: 512)
    #expect(try rig.client.call(.write, offset: 0, length: 512, payload: bytes).0 == nil)
    // Replies that nobody reads.
    for number in 0..<64 { try rig.client.send(.read, offset: number << 16, length: 64 << 10) }
    Thread.sleep(forTimeInterval: 0.5)
    rig.server.ignoresFlush = true
    rig.relay.requestFlush()
    Thread.sleep(forTimeInterval: 0.3)
    for _ in 0..<200 { try rig.client.send(.read, offset: 0, length: 512) }
    Thread.sleep(forTimeInterval: 0.3)
    rig.server.crash(losingCache: false)
    rig.lane.park()
    rig.relay.settleUnfinishedReply()
    rig.lane.refuse()
    Thread.sleep(forTimeInterval: 0.3)
    rig.lane.park()
    var owns = 0
    var index = rig.relay.inFlight.oldest
    while index >= 0 {
      if rig.relay.inFlight[index].own { owns += 1 }
      index = rig.relay.inFlight.next(after: index)
    }
    #expect(rig.relay.flushInFlight == (owns > 0))
  }

  /// A relay that begins after a write was lost has nothing to tell of it.
  @Test func aNewRelayDoesNotFailForOldLosses() throws {
    let rig = try RelayRig()
    rig.clock.recordLostWrite()
    let relay = try Relay(settings: rig.relay.settings, clock: rig.clock)
    #expect(relay.lostWritesTold == rig.clock.lostWrites)
  }

  /// A server that acknowledges a WRITE before it has its payload.
  @Test func anAcknowledgementAheadOfThePayloadBreaksTheProtocol() throws {
    let rig = try RelayRig()
    let pair = try SocketPair()
    let server = pair.second.release()
    rig.relay.channel = PlainChannel(pair.first)
    rig.lane.run()
    // Half of the payload only.
    let request = Request(.write, cookie: 7, offset: 0, length: 65536)
    try sendAll(
      request.encoded + [UInt8](repeating: 5, count: 30000), to: rig.client.socket.raw,
      until: .after(seconds: 60))
    let header = try LinuxIO.receive(Request.size, from: server, until: .after(seconds: 60))
    let seen = try Request(decoding: header.span)
    try sendAll(SimpleReply(cookie: seen.cookie).encoded, to: server, until: .after(seconds: 60))
    Thread.sleep(forTimeInterval: 0.3)
    shutdown(server, Int32(SHUT_RDWR))
    guard case .lost(_) = rig.outcome() else {
      Issue.record("not lost")
      return
    }
    let acked =
      !rig.relay.journal.isEmpty
      && rig.relay.journal[rig.relay.journal.first].acknowledged != 0
    #expect(!acked)
    close(server)
  }
}
