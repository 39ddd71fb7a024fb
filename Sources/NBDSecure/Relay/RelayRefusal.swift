// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage

// Without a server: requests are refused with EIO, or forgotten because the plain side is gone.
extension Relay {
  /// Fails what is in flight with EIO, and every request that comes, until `stop` is called or the
  /// plain side ends. For the time after `--reconnect-timeout`.
  func runRefusing() -> Outcome {
    refusing = true
    defer { refusing = false }
    do throws(RelayStop) {
      try failInFlight()
      while true { try refuseTurn() }
    } catch {
      return error.outcome
    }
  }

  private func failInFlight() throws(RelayStop) {
    var index = inFlight.oldest
    // Before anything is refused: nothing may come between the parts of a reply.
    while index >= 0 {
      if inFlight[index].delivered > 0 {
        shutdownSocket(plain)
        throw .plainClosed("a reply that was half delivered cannot be finished")
      }
      index = inFlight.next(after: index)
    }
    index = inFlight.oldest
    while index >= 0 {
      let next = inFlight.next(after: index)
      let slot = inFlight[index]
      if !slot.own {
        while !outgoing.takesRefusal { try deliverOrWait() }
        outgoing.refuse(cookie: slot.cookie, error: .eio)
      }
      forget(index)
      index = next
    }
    flushInFlight = false
    // What is left of a payload that is arriving goes nowhere.
    discarding = payloadLeft > 0
    incoming = -1
    resend = -1
    finishing = -1
    sent = parsed
    // What failed gives its place in the ring back with the next refusals.
    journal.release(flushedThrough: clock.flushedThrough, keepUnflushed: keepsUnflushed)
    let kept = journal.releaseEnd() ?? parsed
    if kept < parsed { refusedFrom = min(refusedFrom ?? kept, kept) }
    reclaimRefused()
  }

  private func forget(_ index: Int32) {
    if inFlight[index].entry != InFlight.noEntry { journal[inFlight[index].entry].void = true }
    if inFlight[index].own { flushInFlight = false }
    inFlight.release(index)
  }

  private func deliverOrWait() throws(RelayStop) {
    try deliver()
    guard plainBlocked else { return }
    poll.watch(.plain, plain, read: false, write: true)
    poll.watch(.channel, -1, read: false, write: false)
    try waitForPlain()
  }

  private func refuseTurn() throws(RelayStop) {
    try deliver()
    if plainReadable { try readPlain() }
    stalled = false
    try recognise(now: 0)
    try deliver()
    if disconnecting { throw .disconnected }
    // Only full refusals stall it, and there is room again: nothing would wake us for it.
    if stalled, outgoing.takesRefusal { return }
    poll.watch(.plain, plain, read: !stalled && hasRoom, write: plainBlocked)
    poll.watch(.channel, -1, read: false, write: false)
    try waitForPlain()
  }

  private func waitForPlain() throws(RelayStop) {
    if let errno = poll.wait(milliseconds: -1) {
      throw .plainClosed("poll failed: \(errno)")
    }
    if poll.isReadable(.wake) {
      _ = wake.drain()
      if isStopRequested { throw .stopped }
    }
    plainReadable = poll.isReadable(.plain)
    if poll.isWritable(.plain) { plainBlocked = false }
  }

  /// Forgets what is in flight and what was read: the plain side is gone, and whoever comes next
  /// sends it again. Unflushed writes that were acknowledged stay.
  func dropInFlight() {
    while inFlight.oldest >= 0 { forget(inFlight.oldest) }
    flushInFlight = false
    flushWanted = false
    journal.release(flushedThrough: clock.flushedThrough, keepUnflushed: keepsUnflushed)
    // What was read of the old plain side gives the ring back: behind writes that are kept nothing
    // else would, and a full ring takes nothing that could ask for a FLUSH.
    head = min(journal.releaseEnd() ?? head, head)
    parsed = head
    sent = head
    payloadLeft = 0
    discarding = false
    incoming = -1
    resend = -1
    finishing = -1
    resendSent = 0
    stalled = false
    refusedFrom = nil
    disconnecting = false
    reading = -1
    dataLeft = 0
    skip = 0
    filled = 0
    scanned = 0
    outgoing.clear()
    plainBlocked = false
    plainReadable = false
    channelReadable = false
  }

  /// Gives the relay another plain side, a socket pair; what was in flight on the old one is
  /// forgotten. Returns the other end, which the caller owns.
  func makePlainSide() throws(Errno) -> Int32 {
    let pair = try SocketPair(sendBuffer: Limits.socketBuffer, receiveBuffer: Limits.socketBuffer)
    let theirs = pair.second.release()
    replacePlain(with: pair.first)
    return theirs
  }

  /// Gives the relay another plain side; what was in flight on the old one is forgotten.
  func replacePlain(with descriptor: consuming Descriptor) {
    if plain >= 0 { _ = Descriptor(owning: plain) }
    plain = descriptor.release()
    dropInFlight()
  }

  /// Takes the plain side away; what was in flight on it is forgotten.
  func dropPlain() {
    if plain >= 0 { _ = Descriptor(owning: plain) }
    plain = -1
    dropInFlight()
  }

  /// Whether nothing of the present plain side is on its way to the server or back, so that another
  /// one can use the connection.
  var isQuiet: Bool { inFlight.isEmpty && sent == parsed && (payloadLeft == 0 || discarding) }

  /// Whether the other end of the plain side is closed.
  var isPlainDead: Bool {
    guard plain >= 0 else { return true }
    let found = try? wait(plain, for: [], until: .after(seconds: 0))
    return found.map { $0.contains(.hangUp) || $0.contains(.error) } ?? false
  }

  /// Why a request is refused here instead of being passed on; nil when it is not.
  func refusal(of request: Request) -> NBDError? {
    if request.rawCommand == Command.disc.rawValue { return nil }
    if refusing { return NBDError.eio }
    let invalid = NBDError.einval
    let touchesData: Bool
    switch request.command {
    case .read, .cache: touchesData = true
    case .write, .trim, .writeZeroes:
      guard !settings.flags.contains(.readOnly) else { return NBDError.eperm }
      touchesData = true
    case .flush: touchesData = false
    default: return invalid
    }
    guard touchesData else { return nil }
    let (end, overflow) = request.offset.addingReportingOverflow(UInt64(request.length))
    guard !overflow, end <= settings.exportSize, request.length > 0 else {
      return request.rawCommand == Command.write.rawValue ? NBDError.enospc : invalid
    }
    let carriesData =
      request.rawCommand == Command.read.rawValue || request.rawCommand == Command.write.rawValue
    guard !carriesData || request.length <= settings.maximumRequest else { return invalid }
    return nil
  }
}
