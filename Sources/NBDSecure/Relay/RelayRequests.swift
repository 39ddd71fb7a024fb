// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol

// The way of requests: plain side → ring → channel.
extension Relay {
  /// Everything before it is of no more use: the ring may be overwritten up to here.
  private var tail: UInt64 {
    journal.isEmpty ? sent : min(journal[journal.first].start, sent)
  }

  /// At most `count` bytes of the stream from a position on, as far as they lie in one run: all of
  /// them where they are no more than the ring mirrors.
  func bytes(from position: UInt64, atMost count: Int) -> UnsafeMutableRawBufferPointer {
    let run = unsafe ring.run(from: position)
    return unsafe UnsafeMutableRawBufferPointer(rebasing: run[..<min(run.count, count)])
  }

  /// Whether the ring takes more.
  var hasRoom: Bool { room > 0 }

  /// Free bytes in the ring.
  private var room: Int { ring.capacity - Int(head - tail) }

  /// At a place in the stream to the server where a request of our own may stand.
  private var atBoundary: Bool { sent == parsed && payloadLeft == 0 && resend < 0 && finishing < 0 }

  /// Whether more requests can be read from the plain side.
  func wantsRequests(_ channel: any Channel) -> Bool {
    !disconnecting && !stalled && resend < 0 && finishing < 0 && room > 0
      && channel.pendingOutput == 0
  }

  /// Reads requests, and sends what there is to send, as far as it goes without waiting.
  func sendRequests(over channel: any Channel, now: UInt64) throws(RelayStop) {
    guard try resendRequests(over: channel, now: now) else { return }
    if plainReadable, wantsRequests(channel) { try readPlain() }
    // A ring that is full, with no whole request at its end, asks nobody for room: see to it here.
    if !hasRoom { releaseJournal(makingRoomFor: 0) }
    while true {
      let before = parsed &+ sent
      stalled = false
      try recognise(now: now)
      try give(to: channel)
      if flushWanted || flushAsked, !flushInFlight, atBoundary {
        try sendOwnFlush(over: channel, now: now)
      }
      // What stopped the recognition may be gone now that everything is sent.
      if parsed &+ sent == before || !stalled { break }
    }
    do { _ = try channel.flush() } catch { throw .lost(error) }
  }

  func readPlain() throws(RelayStop) {
    plainReadable = false
    // With nothing to keep, the same memory again, which is in the cache.
    if tail == head, (refusedFrom ?? head) == head { ring.restart(at: head) }
    let count = min(room, Limits.plainRead)
    // A receive of nothing would look like the end.
    guard count > 0 else { return }
    switch unsafe receive(plain, into: bytes(from: head, atMost: count)) {
    case .bytes(let n):
      head += UInt64(n)
      plainReadable = n == count
    case .wouldBlock: return
    case .closed: throw .plainClosed("the plain side was closed")
    case .failed(let errno): throw .plainClosed("the plain side failed: \(errno)")
    }
  }

  /// Recognises whole requests and payloads in what was read.
  func recognise(now: UInt64) throws(RelayStop) {
    defer { reclaimRefused() }
    while parsed < head, !disconnecting {
      if payloadLeft > 0 {
        let n = min(payloadLeft, head - parsed)
        parsed += n
        payloadLeft -= n
        if discarding { sent = parsed }
        if payloadLeft == 0 {
          // From now on it is the server's turn.
          if incoming >= 0 { inFlight[incoming].sentAt = now }
          incoming = -1
        }
        continue
      }
      discarding = false
      guard head - parsed >= UInt64(Request.size) else { return }
      let header = unsafe bytes(from: parsed, atMost: Request.size)
      guard let request = unsafe decodeRequest(UnsafeRawBufferPointer(header)) else {
        throw .plainClosed("the plain side sent something that is not a request")
      }
      if settings.keepsConnection, request.rawCommand == Command.disc.rawValue {
        guard sent == parsed else { return stall() }
        parsed += UInt64(Request.size)
        sent = parsed
        disconnecting = true
        continue
      }
      if let error = refusal(of: request) {
        guard sent == parsed, outgoing.takesRefusal else { return stall() }
        outgoing.refuse(cookie: request.cookie, error: error)
        counters.refused += 1
        refusedFrom = refusedFrom ?? parsed
        parsed += UInt64(Request.size)
        payloadLeft = request.rawCommand == Command.write.rawValue ? UInt64(request.length) : 0
        discarding = true
        sent = parsed
        continue
      }
      guard try unsafe take(request, header: header, now: now) else { return stall() }
    }
  }

  private func stall() { stalled = true }

  /// Gives the ring back what refused requests took, so that they cannot fill it behind writes that
  /// are kept: what follows them moves to where they began.
  func reclaimRefused() {
    guard let from = refusedFrom, sent == parsed, parsed > from else { return }
    let rest = Int(head - parsed)
    guard rest <= Limits.plainRead else { return }
    let gap = Int(parsed - from)
    // Where the two overlap they must be seen to, in one run of addresses.
    let source =
      gap < rest
      ? unsafe UnsafeMutableRawBufferPointer(
        rebasing: bytes(from: from, atMost: gap + rest)[gap...])
      : unsafe bytes(from: parsed, atMost: rest)
    unsafe bytes(from: from, atMost: rest).copyMemory(from: UnsafeRawBufferPointer(source))
    head = from + UInt64(rest)
    parsed = from
    sent = from
    if payloadLeft == 0 { refusedFrom = nil }
  }

  /// Puts a request in flight; false when there is no room for it now.
  private func take(
    _ request: Request, header: UnsafeMutableRawBufferPointer, now: UInt64
  ) throws(RelayStop) -> Bool {
    // One slot stays free for a FLUSH of our own.
    guard inFlight.room > 1, !isDraining else { return false }
    let isWrite = request.rawCommand == Command.write.rawValue
    let modifies = Self.modifies(request.rawCommand)
    let length = UInt64(Request.size) + (isWrite ? UInt64(request.length) : 0)
    // The headers of reads are in the ring, too, and what is pinned before them keeps them there.
    releaseJournal(makingRoomFor: length)
    if modifies {
      guard !journal.isFull, parsed + length - tail <= UInt64(ring.capacity) else { return false }
    }
    refusedFrom = nil
    let index = inFlight.take()
    inFlight[index].cookie = request.cookie
    inFlight[index].type = request.rawCommand
    inFlight[index].flags = request.flags.rawValue
    inFlight[index].offset = request.offset
    inFlight[index].length = request.length
    inFlight[index].sentAt = now
    inFlight[index].takenAt = now
    if modifies {
      var entry = Journal.Entry()
      entry.type = request.rawCommand
      entry.flags = request.flags.rawValue
      entry.offset = request.offset
      entry.length = request.length
      entry.start = parsed
      entry.submitted = clock.tick()
      inFlight[index].entry = journal.append(entry)
      counters.bytesWritten += isWrite ? UInt64(request.length) : 0
    } else if request.rawCommand == Command.flush.rawValue {
      inFlight[index].covers = clock.current
    } else if request.rawCommand == Command.disc.rawValue {
      disconnecting = true
      inFlight.release(index)
    }
    counters.requests += 1
    var ours = request
    ours.cookie = inFlight.wireCookie(of: index)
    unsafe encode(ours, into: header)
    parsed += UInt64(Request.size)
    if isWrite {
      payloadLeft = UInt64(request.length)
      incoming = index
    }
    return true
  }

  /// Lets go of what needs no keeping, and asks for a FLUSH of our own where what is left and a request
  /// of `length` bytes fill the window; for none where they do not.
  func releaseJournal(makingRoomFor length: UInt64) {
    journal.release(flushedThrough: clock.flushedThrough, keepUnflushed: keepsUnflushed)
    let isFull =
      parsed + length - tail > UInt64(settings.flushWindow)
      || journal.count >= journal.capacity / 4 * 3
    flushWanted = isFull && !journal.isEmpty && journal[journal.first].acknowledged != 0
  }

  /// Whether acknowledged writes are kept until a FLUSH.
  var keepsUnflushed: Bool { settings.flushWindow > 0 && settings.flags.contains(.sendFlush) }

  static func modifies(_ type: UInt16) -> Bool {
    type == Command.write.rawValue || type == Command.trim.rawValue
      || type == Command.writeZeroes.rawValue
  }

  /// Gives the channel what was recognised.
  private func give(to channel: any Channel) throws(RelayStop) {
    do {
      while sent < parsed {
        let bytes = unsafe bytes(from: sent, atMost: Int(parsed - sent))
        let taken = unsafe try channel.send(UnsafeRawBufferPointer(bytes))
        sent += UInt64(taken)
        if taken == 0, try !channel.flush() { return }
      }
    } catch { throw .lost(error) }
  }

  private func sendOwnFlush(over channel: any Channel, now: UInt64) throws(RelayStop) {
    // A channel that is almost full would take a part of the header: then later.
    do { guard try channel.flush() else { return } } catch { throw .lost(error) }
    let index = inFlight.take()
    inFlight[index].type = Command.flush.rawValue
    inFlight[index].own = true
    inFlight[index].sentAt = now
    inFlight[index].covers = clock.current
    guard try sendHeader(of: index, over: channel, from: 0) == Request.size else {
      inFlight.release(index)
      return
    }
    flushInFlight = true
    flushWanted = false
    flushAsked = false
    counters.flushesOfOurOwn += 1
  }

  /// Gives the channel a header made from a slot; how many of its bytes were taken.
  private func sendHeader(
    of index: Int32, over channel: any Channel, from start: Int
  ) throws(RelayStop) -> Int {
    let slot = inFlight[index]
    unsafe encode(slot.request(cookie: inFlight.wireCookie(of: index)), into: scratch)
    do {
      return unsafe try channel.send(UnsafeRawBufferPointer(rebasing: scratch[start...]))
    } catch { throw .lost(error) }
  }

  // MARK: After a reconnection

  /// Makes everything in flight be sent again, over a new channel, in the original order and
  /// before anything new; a half-delivered reply is finished first and alone.
  func beginResend(now: UInt64) {
    finishing = -1
    resendSent = 0
    var index = inFlight.oldest
    while index >= 0 {
      inFlight[index].onWire = false
      inFlight[index].sentAt = now
      if inFlight[index].delivered > 0 { finishing = index }
      index = inFlight.next(after: index)
    }
    resend = inFlight.oldest
    if payloadLeft > 0, !discarding, incoming >= 0 {
      // Its payload is still arriving: it goes the normal way, from its beginning.
      sent = journal[inFlight[incoming].entry].start
      inFlight[incoming].onWire = true
    } else {
      discarding = payloadLeft > 0
      sent = parsed
    }
  }

  /// Sends what was in flight again; whether that is done.
  private func resendRequests(over channel: any Channel, now: UInt64) throws(RelayStop) -> Bool {
    if finishing >= 0 {
      if !inFlight[finishing].onWire {
        guard try resendOne(finishing, over: channel, now: now) else { return false }
      }
      do { _ = try channel.flush() } catch { throw .lost(error) }
      return false
    }
    while resend >= 0 {
      let next = inFlight.next(after: resend)
      if !inFlight[resend].onWire {
        guard try resendOne(resend, over: channel, now: now) else { return false }
      }
      resend = next
    }
    return true
  }

  private func resendOne(
    _ index: Int32, over channel: any Channel, now: UInt64
  ) throws(RelayStop) -> Bool {
    let slot = inFlight[index]
    let isWrite = slot.type == Command.write.rawValue
    let length = Request.size + (isWrite ? Int(slot.length) : 0)
    if slot.type == Command.flush.rawValue, resendSent == 0 {
      inFlight[index].covers = clock.current
    }
    while resendSent < length {
      var taken = 0
      if isWrite {
        // The ring still holds the request as it was sent, our cookie included.
        let start = journal[slot.entry].start + UInt64(resendSent)
        let bytes = unsafe bytes(from: start, atMost: length - resendSent)
        do { taken = unsafe try channel.send(UnsafeRawBufferPointer(bytes)) } catch {
          throw .lost(error)
        }
      } else {
        taken = try sendHeader(of: index, over: channel, from: resendSent)
      }
      resendSent += taken
      do { if taken == 0, try !channel.flush() { return false } } catch { throw .lost(error) }
    }
    resendSent = 0
    inFlight[index].onWire = true
    inFlight[index].sentAt = now
    counters.resent += 1
    return true
  }
}
