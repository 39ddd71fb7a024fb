// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization

/// One connection of a ``FakeServer``: what its script can do, and what the client sent.
/// Only the script's thread calls the sending and receiving methods.
package final class FakeConnection: @unchecked Sendable {
  /// Why a step could not be carried out.
  package enum Failure: Error, Equatable {
    /// The client closed; the bytes that had come of those that were awaited.
    case closed(got: [UInt8])
    /// The client sent too little in time.
    case timedOut(got: [UInt8])
    /// The connection broke.
    case broken(Int32)
    /// GnuTLS said no: its code and its text.
    case tls(Int32, String)
  }

  /// A moment in what came from the client.
  package struct Mark: Sendable, Equatable {
    /// Bytes on the socket.
    package var wire: Int
    /// Bytes sent before TLS.
    package var plaintext: Int
    /// Bytes sent through TLS.
    package var decrypted: Int
  }

  /// What came from the client.
  package struct Record: Sendable {
    /// Every byte on the socket, encrypted ones included.
    package var wire: [UInt8] = []
    /// What was sent before TLS, exactly.
    package var plaintext: [UInt8] = []
    /// What was sent through TLS, decrypted.
    package var decrypted: [UInt8] = []
    /// The client closed or reset the connection before we did.
    package var clientClosed = false
    /// How much had come when the script did what its test is about; see ``FakeConnection/fault()``.
    package var fault: Mark?
    /// The script's own failure, if it had one.
    package var failure: Failure?
  }

  /// The number of the connection at its server, from 0.
  package let index: Int
  /// How long a receiving step, and the watch after the script, may take.
  package var patience = 15 * TestSupport.patience
  /// Changes outgoing wire bytes, for corruption under TLS; given the offset since it was set.
  package var tamper: (([UInt8]) -> [UInt8])?

  private let descriptor: Int32
  /// What comes is kept in ``record``: not wanted under a load.
  private let isRecording: Bool
  private let state = Mutex((record: Record(), over: false, open: true))
  /// The TLS session, once it is up.
  package internal(set) var session: TLSServerSession?

  /// - Parameters:
  ///   - descriptor: a connected, blocking socket. It is closed when a script has been played.
  ///   - recording: whether what comes from the client is kept.
  package init(descriptor: Int32, index: Int, recording: Bool = true) {
    self.descriptor = descriptor
    self.index = index
    isRecording = recording
    var one: Int32 = 1
    setsockopt(
      descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
  }

  /// What the client sent so far.
  package var record: Record { state.withLock { $0.record } }

  /// True when script and watch have ended.
  package var isOver: Bool { state.withLock { $0.over } }

  /// The socket, for scripts that do everything themselves. Valid while the script runs.
  package var socketNumber: Int32 { descriptor }

  // MARK: Steps

  /// Sends all the bytes: through TLS once it is up.
  package func send(_ bytes: [UInt8]) throws(Failure) {
    if let session { try session.send(bytes) } else { try sendRaw(bytes) }
  }

  /// Sends the bytes in pieces with a pause between any two.
  package func send(_ bytes: [UInt8], pieces size: Int, pause: Double) throws(Failure) {
    var rest = bytes[...]
    while !rest.isEmpty {
      try send(Array(rest.prefix(size)))
      rest = rest.dropFirst(size)
      if !rest.isEmpty { self.pause(pause) }
    }
  }

  /// Receives exactly `count` bytes: through TLS once it is up.
  @discardableResult
  package func receive(_ count: Int) throws(Failure) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      let more: [UInt8]
      do throws(Failure) {
        more = try receiveSome(count - bytes.count)
      } catch {
        switch error {
        case .closed: throw .closed(got: bytes)
        case .timedOut: throw .timedOut(got: bytes)
        default: throw error
        }
      }
      if more.isEmpty { throw .closed(got: bytes) }
      bytes += more
    }
    return bytes
  }

  /// Answers a TLS handshake on this connection.
  package func startTLS(_ identity: TLSServerIdentity) throws(Failure) {
    let session = try TLSServerSession(identity, over: self)
    try session.handshake()
    self.session = session
  }

  /// Sends bytes as they are, beneath TLS.
  package func sendRaw(_ bytes: [UInt8]) throws(Failure) {
    var rest = (tamper?(bytes) ?? bytes)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw .broken(errno) }
      rest = rest.dropFirst(count)
    }
  }

  /// Notes that the script now does what its test is about: what comes later is the client's answer
  /// to it. The script has received before whatever the client had reason to send.
  package func fault() {
    state.withLock { state in
      let record = state.record
      state.record.fault = Mark(
        wire: record.wire.count, plaintext: record.plaintext.count,
        decrypted: record.decrypted.count)
    }
  }

  /// Lets only so many more bytes through to the client, TLS or not; the rest vanishes.
  package func cut(after count: Int) {
    var left = count
    tamper = { bytes in
      defer { left -= min(left, bytes.count) }
      return Array(bytes.prefix(left))
    }
  }

  /// Does nothing for a while.
  package func pause(_ seconds: Double) { usleep(useconds_t(seconds * 1e6)) }

  /// Says that no more will be sent, without a TLS close.
  package func shutdownWrite() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Sends the TLS close, where TLS is up, and closes.
  package func close() {
    session?.sayGoodbye()
    finish()
  }

  /// Closes at once, without a TLS close.
  package func abort() { finish() }

  /// Ends the script's part with a TCP reset: sent when the script returns.
  package func reset() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    // A shutdown would send FIN first.
    state.withLock { $0.open = false }
  }

  // MARK: Beneath

  func play(_ script: FakeServer.Script) {
    do {
      try script(self)
      watch()
    } catch let failure as Failure {
      state.withLock {
        $0.record.failure = failure
        switch failure {
        case .closed: $0.record.clientClosed = true
        case .broken(ECONNRESET), .broken(EPIPE): $0.record.clientClosed = $0.open
        default: break
        }
      }
    } catch {
      state.withLock { $0.record.failure = .tls(0, "\(error)") }
    }
    finish()
    Glibc.close(descriptor)
    state.withLock { $0.over = true }
  }

  /// Records what comes until the client closes.
  private func watch() {
    while state.withLock({ $0.open }) {
      do throws(Failure) {
        if try receiveSome(65536).isEmpty { throw Failure.closed(got: []) }
      } catch {
        // Only a client that is still silent when the time is over has not closed.
        if case .timedOut = error { return }
        state.withLock { $0.record.clientClosed = $0.open }
        return
      }
    }
  }

  private func receiveSome(_ limit: Int) throws(Failure) -> [UInt8] {
    if let session { return try session.receive(limit) }
    let bytes = try receiveRaw(limit)
    if isRecording { state.withLock { $0.record.plaintext += bytes } }
    return bytes
  }

  /// Up to `limit` bytes from the socket; none at the end of the stream.
  func receiveRaw(_ limit: Int) throws(Failure) -> [UInt8] {
    let end = now() + patience
    while true {
      var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let ready = poll(&watched, 1, Int32(max(0, (end - now()) * 1000)))
      if ready < 0 && errno == EINTR { continue }
      guard ready > 0 else { throw .timedOut(got: []) }
      var buffer = [UInt8](repeating: 0, count: limit)
      let count = recv(descriptor, &buffer, limit, 0)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw .broken(errno) }
      let bytes = Array(buffer.prefix(count))
      if isRecording { state.withLock { $0.record.wire += bytes } }
      return bytes
    }
  }

  func note(decrypted bytes: [UInt8]) {
    if isRecording { state.withLock { $0.record.decrypted += bytes } }
  }

  /// Whether something comes within so many seconds, or is there: bytes, or the end.
  package func isReadable(within seconds: Double) -> Bool {
    var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&watched, 1, Int32(seconds * 1000)) > 0
  }

  private func finish() {
    let wasOpen = state.withLock { state in
      defer { state.open = false }
      return state.open
    }
    // Only shut down here: the number stays ours until the script's thread has let go of it.
    if wasOpen { shutdown(descriptor, Int32(SHUT_RDWR)) }
  }
}
