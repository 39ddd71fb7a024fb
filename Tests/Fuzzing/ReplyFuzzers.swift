// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDProtocol

@testable import NBDSecure

/// A server's side of the transmission phase through the relay: the first bytes choose what is in
/// flight, the rest is what the server sends. Whatever it sends, the plain side gets whole replies
/// to its own requests, each once.
func fuzzReplies(_ bytes: [UInt8]) {
  var input = Input(bytes)
  var requests: [Request] = []
  for number in 0..<(Int(input.byte()) % 8 + 1) {
    let shape = input.byte()
    let commands: [Command] = [.read, .write, .flush, .trim, .read, .read, .writeZeroes, .read]
    let command = commands[Int(shape & 7)]
    let length = command == .flush ? 0 : UInt32(shape >> 3) * 128 + 1
    requests.append(Request(command, cookie: 1000 + UInt64(number), offset: 0, length: length))
  }
  let pieces = Int(input.byte())
  do {
    let relay = try Rig.relay.get()
    // Replacing the plain side forgets all of the run before, but for how often slots were used.
    let plain = Descriptor(owning: try relay.makePlainSide())
    relay.inFlight = InFlight(capacity: Relay.Limits.requestsInFlight)
    relay.prepare()
    for request in requests {
      let payload = [UInt8](repeating: 0x5a, count: Int(request.payloadLength))
      try sendAll(request.encoded + payload, to: plain.raw, until: .never)
    }
    let channel = try Rig.channel.get()
    channel.begin(Array(input.rest), piece: pieces == 0 ? .max : pieces)
    relay.channel = channel
    if case .lost(let lost) = relay.run() { requirePrintable(lost.reason) }
    relay.settleUnfinishedReply()
    try? relay.deliver()
    check(drain(plain), against: requests)
  } catch {
    fatalError("no resources: \(error)")
  }
}

/// What is made once: to make it for each run would take most of the time.
private enum Rig {
  static let relay = Result {
    try Relay(
      settings: Relay.Settings(
        exportSize: 1 << 20, flags: [.hasFlags, .sendFlush, .sendTrim, .sendWriteZeroes],
        maximumRequest: 1 << 20, ioTimeout: 60_000_000_000, flushWindow: 0),
      clock: RelayClock())
  }

  nonisolated(unsafe) static let channel = Result { try ScriptedChannel() }
}

/// What the plain side got: whole replies to its requests, and at most one cut short at the end.
private func check(_ received: [UInt8], against requests: [Request]) {
  var waiting = Dictionary(uniqueKeysWithValues: requests.map { ($0.cookie, $0) })
  var rest = received[...]
  while rest.count >= SimpleReply.size {
    guard let reply = try? SimpleReply(decoding: Array(rest.prefix(SimpleReply.size)).span) else {
      fatalError("broken promise: the plain side gets replies only")
    }
    guard let request = waiting.removeValue(forKey: reply.cookie) else {
      fatalError("broken promise: each request is answered once")
    }
    rest = rest.dropFirst(SimpleReply.size)
    if request.command == .read, reply.error == nil { rest = rest.dropFirst(Int(request.length)) }
  }
}

private func drain(_ socket: borrowing Descriptor) -> [UInt8] {
  var all: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = recv(socket.raw, &buffer, buffer.count, Int32(MSG_DONTWAIT))
    guard count > 0 else { return all }
    all += buffer[..<count]
  }
}

/// A server in memory that says what it has to say in pieces, and is gone then.
private final class ScriptedChannel: Channel {
  private var rest: ArraySlice<UInt8> = []
  private var piece = 0
  private let readable: EventSignal
  private var sent = 0

  init() throws {
    readable = try EventSignal()
    readable.signal()
  }

  func begin(_ bytes: [UInt8], piece: Int) {
    rest = bytes[...]
    self.piece = piece
    sent = 0
  }

  func receive(into buffer: UnsafeMutableRawBufferPointer) throws(LinkLost) -> Int {
    // Nothing before it has heard the requests.
    guard sent > 0 else { return 0 }
    guard !rest.isEmpty else { throw LinkLost(reason: "the end") }
    let count = min(piece, buffer.count, rest.count)
    buffer.copyBytes(from: rest.prefix(count))
    rest = rest.dropFirst(count)
    return count
  }

  var isWornOut: Bool { false }
  var hasBufferedInput: Bool { false }

  func send(_ bytes: UnsafeRawBufferPointer) throws(LinkLost) -> Int {
    sent += bytes.count
    return bytes.count
  }

  func flush() throws(LinkLost) -> Bool { true }
  var pendingOutput: Int { 0 }
  var rawDescriptor: Int32 { readable.descriptor.raw }
  func close(by deadline: Deadline) {}
  func cut() {}
}

/// Simple and structured replies as `copy` reads them.
func fuzzChunks(_ bytes: [UInt8]) {
  var input = Input(bytes)
  let choice = input.byte()
  var stream = ReplyStream(
    Agreement(
      structuredReplies: choice & 1 != 0,
      contexts: choice & 2 != 0 ? [MetaContext(identifier: 7, name: "base:allocation")] : []))
  var lengths: [UInt64: Int] = [:]
  for number in 0..<(UInt64(choice >> 2) % 4 + 1) {
    let command: Command = number == 1 ? .blockStatus : number == 3 ? .flush : .read
    let length = command == .flush ? 0 : UInt32(input.byte()) * 16 + 16
    lengths[number] = Int(length)
    stream.expect(Request(command, cookie: number, offset: 4096, length: length))
  }
  do {
    while !input.rest.isEmpty {
      switch stream.step {
      case .control(let count):
        require(count > 0 && count <= 16 << 20, "reads are bounded: \(count)")
        guard let bytes = input.take(count) else { return }
        try stream.received(bytes)
      case .data(let cookie, let position, let count):
        let length = lengths[cookie] ?? -1
        require(
          position >= 0 && count >= 0 && count <= length && position <= length - count,
          "data lies within its request")
        guard input.take(count) != nil else { return }
        try stream.receivedData()
      }
      while let event = stream.nextEvent() { check(event, lengths) }
    }
  } catch {
    requirePrintable("\(error)")
  }
}

private func check(_ event: ReplyStream.Event, _ lengths: [UInt64: Int]) {
  switch event {
  case .zeroes(let cookie, let position, let count):
    let length = lengths[cookie] ?? -1
    require(
      position >= 0 && count >= 0 && count <= length && position <= length - count,
      "zeroes lie within their request")
  case .extents(_, _, let extents): require(!extents.isEmpty, "there is an extent")
  case .finished(let cookie, _): require(lengths[cookie] != nil, "only requests are answered")
  }
}
