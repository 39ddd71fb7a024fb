// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol

// The way of replies: channel → reply buffer → plain side.
extension Relay {
  /// Receives, checks and passes on replies, as far as it goes without waiting.
  func receiveReplies(from channel: any Channel) throws(RelayStop) {
    var more = channelReadable
    channelReadable = false
    while more, filled < Limits.replyBuffer {
      let space = unsafe UnsafeMutableRawBufferPointer(rebasing: replies[filled...])
      let n: Int
      do { n = unsafe try channel.receive(into: space) } catch {
        // What arrived whole before the end is good: it was authenticated.
        try scan()
        try deliver()
        throw .lost(error)
      }
      filled += n
      more = n > 0
      try scan()
      if filled == Limits.replyBuffer { try deliver() }
    }
    try deliver()
    // Replies that found no segment free have one now.
    while scanned == 0, filled >= SimpleReply.size, !plainBlocked {
      try scan()
      guard scanned > 0 else { break }
      try deliver()
    }
  }

  /// Checks what was received against what is in flight.
  private func scan() throws(RelayStop) {
    while scanned < filled {
      if dataLeft > 0 {
        let n = min(dataLeft, filled - scanned)
        pass(n)
        dataLeft -= n
        if dataLeft == 0 { finishRead() }
        continue
      }
      guard filled - scanned >= SimpleReply.size, outgoing.takesSegment else { return }
      try scanHeader()
    }
  }

  /// Queues the next `count` bytes of the buffer for the plain side, less what it had before.
  private func pass(_ count: Int) {
    let skipped = min(skip, count)
    skip -= skipped
    outgoing.append(offset: scanned + skipped, count: count - skipped)
    scanned += count
  }

  private func scanHeader() throws(RelayStop) {
    let header = unsafe UnsafeMutableRawBufferPointer(
      rebasing: replies[scanned..<(scanned + SimpleReply.size)])
    guard let reply = unsafe decodeReply(UnsafeRawBufferPointer(header)) else {
      throw .brokeProtocol("the server sent a reply with a wrong magic")
    }
    guard let index = inFlight.slot(of: reply.cookie) else {
      throw .brokeProtocol("the server replied to a request that is not in flight")
    }
    let slot = inFlight[index]
    if reply.error == .eshutdown {
      throw .lost(LinkLost(reason: "the server is shutting down"))
    }
    hasAnswered = true
    let failed = reply.error != nil
    if slot.delivered > 0, failed {
      shutdownSocket(plain)
      throw .plainClosed("a reply that was half delivered cannot be finished")
    }
    if !failed, index == incoming {
      throw .brokeProtocol("the server acknowledged a write before it had all of it")
    }
    if slot.own {
      scanned += SimpleReply.size
      completeFlush(slot, failed: failed)
      flushInFlight = false
      inFlight.release(index)
      return
    }
    var error = reply.error
    if slot.type == Command.flush.rawValue, !failed {
      let lost = clock.lostWrites
      if lost != lostWritesTold {
        lostWritesTold = lost
        error = .eio
      }
      completeFlush(slot, failed: error != nil)
    }
    unsafe encode(SimpleReply(cookie: slot.cookie, error: error), into: header)
    if slot.type == Command.read.rawValue, !failed {
      reading = index
      dataLeft = Int(slot.length)
      skip = slot.delivered
      replyStart = outgoing.queued
      pass(SimpleReply.size)
      if dataLeft == 0 { finishRead() }
      return
    }
    pass(SimpleReply.size)
    complete(index, failed: failed)
  }

  private func finishRead() {
    counters.bytesRead += UInt64(inFlight[reading].length)
    complete(reading, failed: false)
    reading = -1
  }

  /// A FLUSH was answered: what it covers is safe, or lost for good.
  private func completeFlush(_ slot: InFlight.Slot, failed: Bool) {
    if failed, slot.own {
      // Nobody else would hear of it: the next FLUSH of the plain side fails instead.
      clock.recordLostWrite()
    }
    if !failed || slot.own { clock.publishFlush(of: slot.covers) }
    releaseJournal(makingRoomFor: 0)
    if slot.own { flushAnswered?() }
  }

  private func complete(_ index: Int32, failed: Bool) {
    latency?.record(nanoseconds: roundBegan &- min(roundBegan, inFlight[index].takenAt))
    let entry = inFlight[index].entry
    if entry != InFlight.noEntry {
      if failed { journal[entry].void = true } else { journal[entry].acknowledged = clock.tick() }
      journal.release(flushedThrough: clock.flushedThrough, keepUnflushed: keepsUnflushed)
    }
    if incoming == index {
      // Answered before all of its payload was sent: the rest still belongs to this connection.
      incoming = -1
    }
    inFlight.release(index)
    if finishing == index {
      finishing = -1
      resend = inFlight.oldest
    }
  }

  /// Writes what is queued to the plain side, as far as it takes it.
  func deliver() throws(RelayStop) {
    guard !plainBlocked else { return }
    while let segment = outgoing.next(betweenReplies: dataLeft == 0 && finishing < 0) {
      let bytes =
        switch segment {
        case .buffer(let offset, let count):
          unsafe UnsafeRawBufferPointer(rebasing: replies[offset..<(offset + count)])
        case .refusals(let bytes):
          unsafe bytes
        }
      switch unsafe send(plain, bytes) {
      case .bytes(let n): outgoing.wrote(n)
      case .wouldBlock:
        plainBlocked = true
        return
      case .closed: throw .plainClosed("the plain side was closed")
      case .failed(let errno): throw .plainClosed("the plain side failed: \(errno)")
      }
    }
    compact()
  }

  /// Everything queued is written: the buffer starts anew with what is not yet recognised.
  private func compact() {
    let rest = filled - scanned
    if rest > 0 {
      unsafe replies.baseAddress?.copyMemory(
        from: UnsafeRawPointer(replies.baseAddress! + scanned), byteCount: rest)
    }
    filled = rest
    scanned = 0
  }

  // MARK: After a lost connection

  /// Settles what the plain side got of an unfinished reply, so that it can be finished from a
  /// repeated read: nothing of it, or so many bytes of it.
  ///
  /// Called once, when the connection is lost; whole replies that wait stay queued.
  func settleUnfinishedReply() {
    if reading >= 0 {
      if outgoing.written <= replyStart {
        outgoing.truncate(to: replyStart)
      } else {
        inFlight[reading].delivered += Int(outgoing.queued - replyStart)
      }
    }
    reading = -1
    dataLeft = 0
    skip = 0
    // A cut-off header is of no use; queued bytes stay where they are until they are written.
    filled = scanned
    channelReadable = false
  }
}
