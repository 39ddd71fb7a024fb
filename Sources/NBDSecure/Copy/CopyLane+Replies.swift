// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol

// The way of replies: channel → reply stream → slots.
extension CopyLane {
  /// Replies that are looked at before requests are sent again.
  private static let repliesAtOnce = 4
  /// Receives without data that may follow each other: TLS has records of its own.
  private static let emptyReceives = 64

  /// Receives what is there, as far as it goes without waiting; whether there may be more at once.
  func receive() throws(NBDSecureError) -> Bool {
    var empty = 0
    var answered = 0
    while answered < Self.repliesAtOnce {
      guard try receiveSome() else {
        empty += 1
        if channel.hasBufferedInput, empty < Self.emptyReceives { continue }
        return answered > 0 && !freeSlots.isEmpty && !quits
      }
      empty = 0
      madeProgress()
      while let event = replies.nextEvent() { answered += try act(on: event) }
    }
    return true
  }

  /// One receive for the current step; false when nothing was there.
  private func receiveSome() throws(NBDSecureError) -> Bool {
    do {
      switch replies.step {
      case .control(let count):
        let wanted = min(count - control.count, unsafe scratch.count)
        let place = unsafe UnsafeMutableRawBufferPointer(rebasing: scratch[..<wanted])
        let got = unsafe try channel.receive(into: place)
        guard got > 0 else { return false }
        unsafe control.append(contentsOf: place[..<got])
        guard control.count == count else { return true }
        let bytes = control
        control.removeAll(keepingCapacity: true)
        try replies.received(bytes)
      case .data(let cookie, let position, let count):
        // The reply stream knows only of requests that we told it of, and bounds position and count.
        guard let request = requests[cookie], request.slot >= 0 else {
          throw LinkLost(reason: "data for no request", brokeProtocol: true)
        }
        let place = unsafe UnsafeMutableRawBufferPointer(
          rebasing: content(of: request.slot)[(position + dataGot)..<(position + count)])
        let got = unsafe try channel.receive(into: place)
        guard got > 0 else { return false }
        dataGot += got
        guard dataGot == count else { return true }
        dataGot = 0
        try replies.receivedData()
      }
      return true
    } catch let error as LinkLost {
      throw lost(error)
    } catch let error as ReplyError {
      throw lost(LinkLost(reason: error.message, brokeProtocol: true))
    } catch {
      throw lost(LinkLost(reason: "\(error)"))
    }
  }

  /// What an event means; 1 when a request is answered.
  private func act(on event: ReplyStream.Event) throws(NBDSecureError) -> Int {
    switch event {
    case .zeroes(let cookie, let position, let count):
      if let request = requests[cookie], request.slot >= 0 {
        unsafe UnsafeMutableRawBufferPointer(
          rebasing: content(of: request.slot)[position..<(position + count)]
        ).initializeMemory(as: UInt8.self, repeating: 0)
      }
      return 0
    case .extents(_, _, let told):
      extents = told
      return 0
    case .finished(let cookie, let failure):
      guard let answered = requests.removeValue(forKey: cookie) else { return 0 }
      try finish(answered, failure)
      return 1
    }
  }

  private func finish(_ answered: InFlight, _ failure: RequestFailure?) throws(NBDSecureError) {
    if failure?.error == .eshutdown {
      throw lost(LinkLost(reason: "the server is shutting down"))
    }
    if answered.request.command == .blockStatus {
      // Without the server's word everything is data: slower, and as right.
      if failure == nil, let extents { plan.mapped(extents) } else { plan.cannotMap() }
      extents = nil
      return
    }
    if let failure { throw refused(answered.request, failure) }
    if answered.request.command == .flush { return plan.flushed() }
    try finish(answered.slot)
  }

  private func refused(_ request: Request, _ failure: RequestFailure) -> NBDSecureError {
    let what =
      switch request.command {
      case .read: "reading"
      case .flush: "flushing"
      default: "writing"
      }
    let place =
      request.command == .flush
      ? "" : " \(request.length) bytes at offset \(failure.offset ?? request.offset)"
    return NBDSecureError(
      .io, "\(settings.server): \(what)\(place) failed: \(failure)", underlying: failure)
  }
}
