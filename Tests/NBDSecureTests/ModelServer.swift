// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import Synchronization

@testable import NBDSecure

/// A disk in memory behind a socket, in the transmission phase: what a relay's server looks like.
/// What is not flushed is lost by `crash`.
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
  /// Stop in the middle of the n-th next read reply, after so many bytes; -1 never.
  var cutReadAfter = -1
  /// Commands seen, in order.
  private(set) var seen: [Command] = []
  /// Errors to give for the n-th next write.
  var failWrites = false
  /// FLUSH is never answered.
  var ignoresFlush = false
  /// The connection ends, its cache kept, behind so many writes; -1 never.
  var endsAfterWrites = -1
  /// An error for all next writes.
  var writeError: NBDError?

  init(size: Int) {
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
      serve(server, mine)
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

  private func readExactly(_ socket: Int32, _ count: Int) -> [UInt8]? {
    let bytes = try? LinuxIO.receive(count, from: socket, until: .never)
    return bytes?.count == count ? bytes : nil
  }

  private func serve(_ socket: Int32, _ mine: Int) {
    var waiting: [(Request, [UInt8])] = []
    while true {
      guard let header = readExactly(socket, Request.size),
        let request = try? Request(decoding: header.span)
      else { return }
      let payload =
        request.payloadLength > 0 ? readExactly(socket, Int(request.payloadLength)) : []
      guard let payload else { return }
      lock.withLock { if let command = request.command { seen.append(command) } }
      if request.command == .disc { return }
      waiting.append((request, payload))
      // Take what is there before answering, so that there is something to shuffle.
      if shuffles, waiting.count < 8,
        (try? LinuxIO.wait(socket, for: .read, until: .after(seconds: 0))) != nil
      {
        continue
      }
      if delay > 0 { Thread.sleep(forTimeInterval: delay) }
      if shuffles { waiting.shuffle() }
      for (request, payload) in waiting {
        guard answer(socket, mine, request, payload) else { return }
      }
      waiting = []
    }
  }

  private func answer(_ socket: Int32, _ mine: Int, _ request: Request, _ payload: [UInt8]) -> Bool
  {
    lock.lock()
    defer { lock.unlock() }
    guard mine == generation else { return false }
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
      if ignoresFlush { return true }
      stable = volatile
    default: error = .einval
    }
    let reply = SimpleReply(cookie: request.cookie, error: error).encoded + data
    if request.command == .write, endsAfterWrites > 0 {
      endsAfterWrites -= 1
      if endsAfterWrites == 0 {
        try? sendAll(reply, to: socket, until: .after(seconds: 5))
        shutdown(socket, Int32(SHUT_RDWR))
        return false
      }
    }
    if request.command == .read, cutReadAfter >= 0 {
      let part = Array(reply.prefix(cutReadAfter))
      cutReadAfter = -1
      try? sendAll(part, to: socket, until: .after(seconds: 5))
      Thread.sleep(forTimeInterval: 0.2)
      shutdown(socket, Int32(SHUT_RDWR))
      return false
    }
    return (try? sendAll(reply, to: socket, until: .after(seconds: 20))) != nil
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
    try sendAll(request.encoded + payload, to: socket.raw, until: .after(seconds: 20))
    return nextCookie
  }

  func write(_ offset: Int, _ payload: [UInt8], flags: CommandFlags = []) throws -> UInt64 {
    try send(.write, offset: offset, length: payload.count, payload: payload, flags: flags)
  }

  func reply() throws -> SimpleReply {
    let bytes = try LinuxIO.receive(SimpleReply.size, from: socket.raw, until: .after(seconds: 20))
    return try SimpleReply(decoding: bytes.span)
  }

  func data(_ count: Int) throws -> [UInt8] {
    try LinuxIO.receive(count, from: socket.raw, until: .after(seconds: 20))
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

/// A relay on a thread, between a client and a server.
final class RelayRig {
  let server: ModelServer
  let relay: Relay
  let lane: Lane
  let client: ModelClient
  let clock = RelayClock()
  /// What the disk must hold.
  var model: [UInt8]
  let parked = DispatchSemaphore(value: 0)

  init(
    size: Int = 1 << 20, flushWindow: Int = 1 << 20, ioTimeout: Double = 20,
    keepsConnection: Bool = false
  ) throws {
    server = ModelServer(size: size)
    model = [UInt8](repeating: 0, count: size)
    var settings = Relay.Settings(
      exportSize: UInt64(size),
      flags: [.hasFlags, .sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes],
      maximumRequest: Relay.Limits.maximumRequest, ioTimeout: UInt64(ioTimeout * 1e9),
      flushWindow: flushWindow)
    settings.keepsConnection = keepsConnection
    relay = try Relay(settings: settings, clock: clock)
    let parked = parked
    lane = try Lane(relay: relay, number: 0) { parked.signal() }
    client = ModelClient(Descriptor(owning: try relay.makePlainSide()))
    relay.channel = PlainChannel(try server.connect())
  }

  /// Waits until the relay parks itself.
  func outcome() -> Relay.Outcome? {
    _ = parked.wait(timeout: .now() + 20)
    return lane.takeOutcome()
  }

  /// What a supervisor does when the server comes back.
  func reconnect() throws -> (Int, Int) {
    relay.settleUnfinishedReply()
    relay.channel?.cut()
    let channel = PlainChannel(try server.connect())
    let result = try Replay(relays: [relay], channel: channel, idleTimeout: 20).run()
    relay.channel = channel
    relay.beginResend(now: monotonicNanoseconds())
    lane.run()
    return result
  }

  deinit {
    lane.park()
    lane.quit()
    server.crash()
  }
}
