// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import TLS

/// The relay's way to the server through TLS.
final class TLSChannel: Channel {
  let session: TLSSession
  /// After how many records of ours the connection is to be replaced; nil: never.
  private let lifetime: UInt64?

  /// - Parameters:
  ///   - session: its handshake is done.
  ///   - lifetime: how many records to send at most; nil leaves it to what the session can bear.
  init(_ session: TLSSession, lifetime: UInt64? = nil) {
    self.session = session
    self.lifetime = lifetime ?? session.recordsBeforeKeyUpdate.map { $0 - Self.margin }
  }

  func receive(into buffer: UnsafeMutableRawBufferPointer) throws(LinkLost) -> Int {
    do { return unsafe try session.receive(into: buffer) } catch { throw lost(error) }
  }

  var hasBufferedInput: Bool { session.hasBufferedInput }

  func send(_ bytes: UnsafeRawBufferPointer) throws(LinkLost) -> Int {
    do { return unsafe try session.send(bytes) } catch { throw lost(error) }
  }

  func flush() throws(LinkLost) -> Bool {
    do { return try session.flush() } catch { throw lost(error) }
  }

  /// How many records before the library would renew its keys a connection is replaced.
  private static let margin: UInt64 = 1 << 16

  /// A KeyUpdate of ours breaks servers that use a GnuTLS session from two threads (nbdkit, GnuTLS
  /// before 3.8.11), and GnuTLS sends one by itself after so many records.
  var isWornOut: Bool {
    guard let lifetime else { return false }
    return session.recordsSent >= lifetime
  }

  var pendingOutput: Int { session.pendingOutput }
  var rawDescriptor: Int32 { session.rawDescriptor }
  func close(by deadline: Deadline) { session.close(deadline: deadline) }
  func cut() { session.shutdownSocket() }

  private func lost(_ error: TLSError) -> LinkLost {
    LinkLost(reason: error.message, brokeProtocol: error.kind.category == .protocolViolation)
  }
}
