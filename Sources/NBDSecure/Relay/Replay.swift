// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol

/// Sends writes again that the old server had acknowledged but not flushed, over a new connection
/// and before anything else, so that a server which lost its cache loses nothing.
///
/// Runs while the relays are parked. The order is the one in which the requests came, over all
/// connections; a server may carry out requests in flight in any order (doc/proto.md, "Ordering of
/// messages and writes"), so one that overlaps another in flight waits for its answer.
struct Replay {
  private static let depth = 32

  private struct Pending {
    let relay: Int
    let index: UInt64
    var entry: Journal.Entry
    /// How much of the payload comes before the piece that is repeated.
    var skipped: UInt64 = 0
  }

  private let relays: [Relay]
  private let channel: any Channel
  private let idleTimeout: Double

  /// - Parameters:
  ///   - relays: parked, with their journals.
  ///   - channel: the new connection, with nothing in flight.
  ///   - idleTimeout: how long the sending of one request, and the wait for the next reply, may
  ///     each take, seconds; then the connection counts as lost.
  init(relays: [Relay], channel: any Channel, idleTimeout: Double) {
    self.relays = relays
    self.channel = channel
    self.idleTimeout = idleTimeout
  }

  /// Repeats the writes; how many requests that took, and how many of them the server now refused.
  ///
  /// - Throws: `LinkLost` when the new connection fails too; nothing is forgotten then.
  func run() throws(LinkLost) -> (repeated: Int, failed: Int) {
    var queue: [Pending] = []
    for (number, relay) in relays.enumerated() {
      var index = relay.journal.first
      while index != relay.journal.end {
        let entry = relay.journal[index]
        // What another lane's FLUSH covered may have been written over since.
        if !entry.void, entry.acknowledged > relay.clock.flushedThrough {
          queue.append(Pending(relay: number, index: index, entry: entry))
        }
        index += 1
      }
    }
    queue.sort { $0.entry.submitted < $1.entry.submitted }
    queue = Self.withoutOverwritten(queue)

    var deadline = Deadline.after(seconds: idleTimeout)
    var outstanding: [Int: Pending] = [:]
    var next = 0
    var failed = 0
    while next < queue.count || !outstanding.isEmpty {
      while next < queue.count, outstanding.count < Self.depth,
        !outstanding.values.contains(where: { $0.entry.overlaps(queue[next].entry) })
      {
        try send(queue[next], cookie: UInt64(next), by: deadline)
        deadline = .after(seconds: idleTimeout)
        outstanding[next] = queue[next]
        next += 1
      }
      let reply = try receiveReply(by: deadline)
      deadline = .after(seconds: idleTimeout)
      guard let done = outstanding.removeValue(forKey: Int(truncatingIfNeeded: reply.cookie)) else {
        throw LinkLost(
          reason: "the server replied to a request that is not in flight", brokeProtocol: true)
      }
      if reply.error == .eshutdown { throw LinkLost(reason: "the server is shutting down") }
      if reply.error != nil {
        failed += 1
        relays[done.relay].journal[done.index].void = true
        relays[done.relay].clock.recordLostWrite()
      }
    }
    return (queue.count, failed)
  }

  /// Only what each place holds in the end: a server that lost nothing must at no moment go back to
  /// what was written over, since the repetition, or we, may end there.
  private static func withoutOverwritten(_ queue: [Pending]) -> [Pending] {
    var later = ByteRanges()
    var pieces: [Pending] = []
    for pending in queue.reversed() {
      let entry = pending.entry
      let whole = entry.offset..<(entry.offset &+ UInt64(entry.length))
      for gap in later.gaps(in: whole).reversed() {
        var piece = pending
        piece.entry.offset = gap.lowerBound
        piece.entry.length = UInt32(gap.upperBound - gap.lowerBound)
        piece.skipped = gap.lowerBound - entry.offset
        pieces.append(piece)
      }
      later.insert(whole)
    }
    return pieces.reversed()
  }

  private func send(
    _ pending: Pending, cookie: UInt64, by deadline: Deadline
  ) throws(LinkLost) {
    let entry = pending.entry
    var request = Request(.write, cookie: cookie, offset: entry.offset, length: entry.length)
    // That zeroing was fast enough once is no promise of the next server's.
    request.flags = CommandFlags(rawValue: entry.flags).subtracting(.fastZero)
    request.rawCommand = entry.type
    let relay = relays[pending.relay]
    unsafe encode(request, into: relay.scratch)
    unsafe try sendAll(UnsafeRawBufferPointer(relay.scratch), by: deadline)
    if entry.type == Command.write.rawValue {
      var position = entry.start + UInt64(Request.size) + pending.skipped
      let end = position + UInt64(entry.length)
      while position < end {
        let part = unsafe relay.bytes(from: position, atMost: Int(end - position))
        unsafe try sendAll(UnsafeRawBufferPointer(part), by: deadline)
        position += UInt64(part.count)
      }
    }
    while try !channel.flush() { try wait(write: true, by: deadline) }
  }

  private func sendAll(
    _ bytes: UnsafeRawBufferPointer, by deadline: Deadline
  ) throws(LinkLost) {
    var done = 0
    while done < bytes.count {
      let taken = unsafe try channel.send(UnsafeRawBufferPointer(rebasing: bytes[done...]))
      done += taken
      if taken == 0 { while try !channel.flush() { try wait(write: true, by: deadline) } }
    }
  }

  private func receiveReply(by deadline: Deadline) throws(LinkLost) -> SimpleReply {
    let buffer = unsafe UnsafeMutableRawBufferPointer(
      rebasing: relays[0].scratch[..<SimpleReply.size])
    var got = 0
    while got < buffer.count {
      let n = unsafe try channel.receive(
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[got...]))
      got += n
      if n == 0, !channel.hasBufferedInput { try wait(write: false, by: deadline) }
    }
    guard let reply = unsafe decodeReply(UnsafeRawBufferPointer(buffer)) else {
      throw LinkLost(reason: "the server sent a reply with a wrong magic", brokeProtocol: true)
    }
    return reply
  }

  private func wait(write: Bool, by deadline: Deadline) throws(LinkLost) {
    do {
      try LinuxIO.wait(
        channel.rawDescriptor, for: write ? .write : .read, until: deadline)
    } catch {
      throw LinkLost(reason: "no progress in repeating unflushed writes: \(error)")
    }
  }
}
