// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage

/// A local client in the handshake. Never blocks.
final class Guest {
  /// How far it came.
  enum Progress {
    case reading
    case writing
    /// It asks for the transmission phase.
    case waiting
    /// Its next bytes are requests.
    case admitted
    /// It left, or cannot be served; why, where that is worth telling.
    case gone(String?)
  }

  /// For traces.
  let number: Int
  private var socket: Int32
  private var negotiation: ServerNegotiation
  private let trace: @Sendable (String) -> Void
  private var input: [UInt8] = []
  private var output: ArraySlice<UInt8> = []
  /// Seconds for the handshake.
  private let patience: Double
  private var handshakeEnd: Deadline
  private(set) var progress = Progress.reading
  /// When it began to wait for a seat.
  private(set) var waitingSince: UInt64?

  init(
    _ socket: consuming Descriptor, number: Int, negotiation: ServerNegotiation,
    patience: Double = ProxyLimits.handshakeTimeout,
    trace: @escaping @Sendable (String) -> Void
  ) {
    self.socket = socket.release()
    self.number = number
    self.negotiation = negotiation
    self.patience = patience
    handshakeEnd = .after(seconds: patience)
    self.trace = trace
  }

  deinit { if socket >= 0 { _ = Descriptor(owning: socket) } }

  var descriptor: Int32 { socket }

  /// What to poll for; the end of the client is reported in any case.
  var awaited: PollEvents {
    switch progress {
    case .reading: .read
    case .writing: .write
    case .waiting, .admitted, .gone: []
    }
  }

  /// When it must have come on; a client that waits for a seat is the proxy's concern.
  var deadline: Deadline {
    if case .waiting = progress { return .never }
    return handshakeEnd
  }

  /// Gives the socket away.
  func release() -> Descriptor {
    defer { socket = -1 }
    return Descriptor(owning: socket)
  }

  /// It is no guest any more: gone, or in a seat.
  var isOver: Bool {
    switch progress {
    case .gone, .admitted: true
    case .reading, .writing, .waiting: false
    }
  }

  /// Whether it has waited for a seat for more than so many seconds.
  func hasWaited(for seconds: Double) -> Bool {
    guard let waitingSince else { return false }
    return Double(monotonicNanoseconds() - waitingSince) / 1e9 >= seconds
  }

  /// Goes on after poll(2).
  func advance(found: PollEvents) {
    switch progress {
    case .waiting where !found.isDisjoint(with: [.hangUp, .error]): progress = .gone(nil)
    case .reading where found.isEmpty, .writing where found.isEmpty: checkTime()
    case .reading, .writing: advance()
    case .waiting, .admitted, .gone: break
    }
  }

  private func checkTime() {
    if handshakeEnd.hasPassed { progress = .gone("did not finish its handshake in time") }
  }

  /// Goes on as far as it goes without waiting.
  private func advance() {
    do throws(NegotiationError) {
      progress = try proceed()
    } catch {
      progress = .gone(error.kind == .closed ? nil : error.message)
    }
    for line in negotiation.takeTrace() { trace("client \(number): \(line)") }
    if case .waiting = progress {
      waitingSince = waitingSince ?? monotonicNanoseconds()
    } else {
      waitingSince = nil
      if !isOver { checkTime() }
    }
  }

  /// Lets it in; `progress` is then `.admitted`, or it is gone.
  func admit() {
    negotiation.admit()
    advance()
    // The answer fits in the socket's buffer, unless the client never reads.
    if case .writing = progress { progress = .gone("does not read the answers to its options") }
  }

  /// Refuses it with a reason for its user; it may ask again.
  func refuse(_ reason: String) {
    // It had no hand in the time that it waited.
    handshakeEnd = .after(seconds: patience)
    negotiation.refuse(reason)
    advance()
  }

  private func proceed() throws(NegotiationError) -> Progress {
    while true {
      if !output.isEmpty {
        guard let sent = send() else { return .gone(nil) }
        if !sent { return .writing }
        continue
      }
      switch try negotiation.next() {
      case .send(let bytes): output = bytes[...]
      case .receive(let count):
        while input.count < count {
          guard let got = receive(count - input.count) else {
            throw negotiation.endOfStream(after: input.count)
          }
          if !got { return .reading }
        }
        let bytes = input
        input = []
        try negotiation.received(bytes)
      case .admission: return .waiting
      case .finished(.transmission): return .admitted
      case .finished(.aborted): return .gone(nil)
      }
    }
  }

  /// Whether something was sent; nil when the client is gone.
  private func send() -> Bool? {
    let transfer = unsafe output.withUnsafeBytes { unsafe LinuxIO.send(socket, $0) }
    switch transfer {
    case .bytes(let count):
      output = output.dropFirst(count)
      return true
    case .wouldBlock: return false
    case .closed, .failed: return nil
    }
  }

  /// Whether something was received, at most `count` bytes: what follows a handshake belongs to
  /// the relay. Nil at the end.
  private func receive(_ count: Int) -> Bool? {
    var buffer = [UInt8](repeating: 0, count: count)
    let transfer = unsafe buffer.withUnsafeMutableBytes { unsafe LinuxIO.receive(socket, into: $0) }
    switch transfer {
    case .bytes(let got):
      input += buffer.prefix(got)
      return true
    case .wouldBlock: return false
    case .closed, .failed: return nil
    }
  }
}
