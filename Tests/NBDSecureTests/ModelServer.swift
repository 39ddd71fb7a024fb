// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import Synchronization

@testable import NBDSecure

/// A disk in memory behind a socket, plain or with TLS, in the transmission phase: what a relay's
/// server looks like. What is not flushed is lost by `crash`.
final class ModelServer: @unchecked Sendable {
  private let lock = NSLock()
  private var stable: [UInt8]
  private var volatile: [UInt8]
  private var generation = 0
  private var current: Int32 = -1
  /// Requests are answered in another order than they came.
  var shuffles = false
  /// Seconds before each batch of replies.
  var delay: Double {
    get { lock.withLock { pause } }
    set { lock.withLock { pause = newValue } }
  }
  private var pause = 0.0
  /// Requests are taken, and answered when this has ended.
  var holds: Bool {
    get { lock.withLock { holding } }
    set { lock.withLock { holding = newValue } }
  }
  private var holding = false
  /// End the connection in the middle of the next read's reply, after so many bytes; -1 never.
  var cutReadAfter: Int {
    get { lock.withLock { cut } }
    set { lock.withLock { cut = newValue } }
  }
  private var cut = -1
  /// Commands seen, in order.
  private(set) var seen: [Command] = []
  /// Errors to give for the n-th next write.
  var failWrites = false
  /// FLUSH is never answered.
  var ignoresFlush = false
  /// FLUSH is carried out and answered behind the answers to so many more writes.
  var flushesBehindWrites = 0
  /// The connection ends, its cache kept, behind so many writes; -1 never.
  var endsAfterWrites = -1
  /// An error for all next writes.
  var writeError: NBDError?

  /// TLS 1.3 KeyUpdates of the server's, at intervals, whether or not there is anything to do. GnuTLS
  /// takes eight a second, by the clock of who receives them, and either side may have stood still: none
  /// is sent before the last one was taken, and what came in answer.
  var keyUpdates: KeyUpdates {
    get { lock.withLock { updating } }
    set { lock.withLock { updating = newValue } }
  }
  private var updating = KeyUpdates.none
  /// How many there were: ahead of replies, and with nothing to do.
  var keyUpdatesSent: (loaded: Int, idle: Int) { lock.withLock { updatesSent } }
  private var updatesSent = (loaded: 0, idle: 0)

  private let link: ModelLink

  init(size: Int, link: ModelLink = .plain) {
    self.link = link
    stable = [UInt8](repeating: 0, count: size)
    volatile = stable
  }

  var contents: [UInt8] { lock.withLock { volatile } }
  var stableContents: [UInt8] { lock.withLock { stable } }
  var commands: [Command] { lock.withLock { seen } }

  /// A new connection; the other end of its socket.
  func connect() throws -> Descriptor {
    let pair = try SocketPair()
    let server = pair.second.release()
    let mine = lock.withLock {
      generation += 1
      current = server
      return generation
    }
    Thread.detachNewThread { [self] in
      if let wire = link.serve(server) { serve(wire, mine) }
      // Its number is somebody else's as soon as it is closed.
      lock.withLock { if current == server { current = -1 } }
      close(server)
    }
    return pair.first
  }

  /// The server dies: connections end, unflushed writes are gone.
  func crash(losingCache: Bool = true) {
    lock.withLock {
      generation += 1
      if losingCache { volatile = stable }
      if current >= 0 { shutdown(current, Int32(SHUT_RDWR)) }
      current = -1
    }
  }

  private func serve(_ wire: any ModelWire, _ mine: Int) {
    var waiting: [(Request, [UInt8])] = []
    var late: (flush: Request, writes: Int)?
    var lastUpdate = monotonicNanoseconds()
    var isTaken = true
    func updateKeys() {
      guard keyUpdates != .none else { return }
      isTaken = isTaken || (wire.isAllTaken && !wire.hasInput)
      guard isTaken, monotonicNanoseconds() - lastUpdate > 250_000_000 else { return }
      lastUpdate = monotonicNanoseconds()
      isTaken = false
      guard wire.updateKeys(asking: keyUpdates == .asking) else { return }
      lock.withLock {
        if waiting.isEmpty { updatesSent.idle += 1 } else { updatesSent.loaded += 1 }
      }
    }
    while true {
      guard let header = wire.receive(Request.size, meanwhile: updateKeys),
        let request = try? Request(decoding: header.span)
      else { return }
      let payload =
        request.payloadLength > 0 ? wire.receive(Int(request.payloadLength)) : []
      guard let payload else { return }
      lock.withLock { if let command = request.command { seen.append(command) } }
      if request.command == .disc { return }
      if request.command == .flush, flushesBehindWrites > 0 {
        late = (request, flushesBehindWrites)
        continue
      }
      waiting.append((request, payload))
      while holds, !wire.hasInput { Thread.sleep(forTimeInterval: 0.01) }
      if holds { continue }
      // Take what is there before answering, so that there is something to shuffle.
      if shuffles, waiting.count < 8, wire.hasInput { continue }
      updateKeys()
      if delay > 0 { Thread.sleep(forTimeInterval: delay) }
      if shuffles { waiting.shuffle() }
      for (request, payload) in waiting {
        guard answer(wire, mine, request, payload) else { return }
      }
      waiting = []
      if request.command == .write { late?.writes -= 1 }
      if let flush = late, flush.writes == 0 {
        late = nil
        // Alone: the next request is there before it.
        Thread.sleep(forTimeInterval: 0.05)
        guard answer(wire, mine, flush.flush, []) else { return }
      }
    }
  }

  private func answer(
    _ wire: any ModelWire, _ mine: Int, _ request: Request, _ payload: [UInt8]
  ) -> Bool {
    // Sent without the lock: a crash does not wait for a client that takes nothing.
    guard let reply = carryOut(request, payload, for: wire, mine) else { return false }
    return reply.isEmpty || wire.send(reply)
  }

  /// The answer, none where there is none to be; nil when the connection is over.
  private func carryOut(
    _ request: Request, _ payload: [UInt8], for wire: any ModelWire, _ mine: Int
  ) -> [UInt8]? {
    lock.lock()
    defer { lock.unlock() }
    guard mine == generation else { return nil }
    var data: [UInt8] = []
    var error: NBDError?
    let start = Int(request.offset)
    let end = start + Int(request.length)
    switch request.command {
    case .read: data = Array(volatile[start..<end])
    case .write:
      if let writeError {
        error = writeError
      } else if failWrites {
        error = .eio
      } else {
        volatile.replaceSubrange(start..<end, with: payload)
      }
      if request.flags.contains(.fua) { stable.replaceSubrange(start..<end, with: payload) }
    case .writeZeroes, .trim:
      volatile.replaceSubrange(start..<end, with: repeatElement(0, count: end - start))
    case .flush:
      if ignoresFlush { return [] }
      stable = volatile
    default: error = .einval
    }
    let reply = SimpleReply(cookie: request.cookie, error: error).encoded + data
    if request.command == .write, endsAfterWrites > 0 {
      endsAfterWrites -= 1
      if endsAfterWrites == 0 {
        _ = wire.send(reply)
        shutdown(current, Int32(SHUT_RDWR))
        return nil
      }
    }
    if request.command == .read, cut >= 0 {
      let part = Array(reply.prefix(cut))
      cut = -1
      _ = wire.send(part)
      // At times both come together, at times not.
      Thread.sleep(forTimeInterval: Double.random(in: 0...0.04))
      shutdown(current, Int32(SHUT_RDWR))
      return nil
    }
    return reply
  }
}

/// The kernel's part: sends requests and checks replies.
final class ModelClient {
  let socket: Descriptor
  private var nextCookie: UInt64 = 0x1000

  init(_ socket: consuming Descriptor) { self.socket = socket }

  @discardableResult
  func send(
    _ command: Command, offset: Int = 0, length: Int = 0, payload: [UInt8] = [],
    flags: CommandFlags = []
  ) throws -> UInt64 {
    nextCookie += 1
    let request = Request(
      command, flags: flags, cookie: nextCookie, offset: UInt64(offset), length: UInt32(length))
    try sendAll(request.encoded + payload, to: socket.raw, until: .after(seconds: 60))
    return nextCookie
  }

  @discardableResult
  func write(_ offset: Int, _ payload: [UInt8], flags: CommandFlags = []) throws -> UInt64 {
    try send(.write, offset: offset, length: payload.count, payload: payload, flags: flags)
  }

  /// Sends what is taken at once, waiting so long for a beginning; how much.
  func sendWhatFits(_ bytes: [UInt8], within seconds: Double) throws -> Int {
    try LinuxIO.wait(socket, for: .write, until: .after(seconds: seconds))
    return bytes.withUnsafeBytes {
      if case .bytes(let count) = LinuxIO.send(socket.raw, $0) { count } else { 0 }
    }
  }

  func reply() throws -> SimpleReply {
    let bytes = try LinuxIO.receive(SimpleReply.size, from: socket.raw, until: .after(seconds: 60))
    return try SimpleReply(decoding: bytes.span)
  }

  func data(_ count: Int) throws -> [UInt8] {
    try LinuxIO.receive(count, from: socket.raw, until: .after(seconds: 60))
  }

  /// One request and its reply.
  func call(
    _ command: Command, offset: Int = 0, length: Int = 0, payload: [UInt8] = []
  ) throws -> (NBDError?, [UInt8]) {
    let cookie = try send(command, offset: offset, length: length, payload: payload)
    let reply = try reply()
    guard reply.cookie == cookie else { throw ModelError.wrongCookie }
    let data = command == .read && reply.error == nil ? try data(length) : []
    return (reply.error, data)
  }
}

enum ModelError: Error { case wrongCookie }
