// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import TLS

/// The relay's way to the server through TLS.
final class TLSChannel: Channel {
  let session: TLSSession

  init(_ session: TLSSession) { self.session = session }

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

  var pendingOutput: Int { session.pendingOutput }
  var rawDescriptor: Int32 { session.rawDescriptor }
  func close(by deadline: Deadline) { session.close(deadline: deadline) }
  func cut() { session.shutdownSocket() }

  private func lost(_ error: TLSError) -> LinkLost {
    LinkLost(reason: error.message, brokeProtocol: error.kind.category == .protocolViolation)
  }
}
