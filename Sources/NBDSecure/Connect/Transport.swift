// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage
import TLS

/// What negotiation needs of a connection: exact reads and whole writes, each within a deadline.
protocol NegotiationTransport: ~Copyable {
  /// Reads exactly `count` bytes, or throws.
  borrowing func read(exactly count: Int, by deadline: Deadline) throws(TransportError) -> [UInt8]
  /// Writes all of `bytes`, or throws.
  borrowing func write(_ bytes: [UInt8], by deadline: Deadline) throws(TransportError)
}

/// Why a transport could not read or write.
enum TransportError: Error {
  /// The stream ended after so many of the bytes that were asked for.
  case ended(after: Int)
  /// The deadline passed.
  case timedOut
  /// The socket failed.
  case failed(Errno)
  /// TLS failed, after so many of the bytes that were asked for.
  case tls(TLSError, after: Int)
}

/// A socket without TLS. `upgrade` consumes it: after STARTTLS no code can write plaintext.
struct PlainTransport: ~Copyable, NegotiationTransport {
  let socket: Descriptor

  borrowing func read(
    exactly count: Int, by deadline: Deadline
  ) throws(TransportError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var got = 0
    while got < count {
      let transfer = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe receive(socket.raw, into: UnsafeMutableRawBufferPointer(rebasing: buffer[got...]))
      }
      switch transfer {
      case .bytes(let n): got += n
      case .closed: throw .ended(after: got)
      case .failed(.connectionReset): throw .ended(after: got)
      case .failed(let errno): throw .failed(errno)
      case .wouldBlock: try waitFor(.read, by: deadline)
      }
    }
    return bytes
  }

  borrowing func write(_ bytes: [UInt8], by deadline: Deadline) throws(TransportError) {
    var done = 0
    while done < bytes.count {
      let transfer = unsafe bytes.withUnsafeBytes { buffer in
        unsafe send(socket.raw, UnsafeRawBufferPointer(rebasing: buffer[done...]))
      }
      switch transfer {
      case .bytes(let n): done += n
      case .closed, .failed(.brokenPipe), .failed(.connectionReset): throw .ended(after: 0)
      case .failed(let errno): throw .failed(errno)
      case .wouldBlock: try waitFor(.write, by: deadline)
      }
    }
  }

  private borrowing func waitFor(
    _ events: PollEvents, by deadline: Deadline
  ) throws(TransportError) {
    do { try wait(socket, for: events, until: deadline) } catch {
      throw error == .timedOut ? .timedOut : .failed(error)
    }
  }

  /// Whether plaintext waits unread.
  borrowing func hasUnreadInput() throws(TransportError) -> Bool {
    do { return try hasInput(socket.raw) } catch { throw .failed(error) }
  }

  /// Becomes a TLS session over the same socket. Plaintext can no longer be written to it.
  consuming func upgrade(
    credentials: Credentials, identity: ServerIdentity, requirements: TLSRequirements,
    deadline: Deadline
  ) throws(TLSError) -> TLSTransport {
    let session = try TLSSession(
      socket: socket, credentials: credentials, identity: identity, requirements: requirements)
    try session.handshake(deadline: deadline)
    return TLSTransport(session: session)
  }
}

/// A TLS session whose peer was verified.
struct TLSTransport: ~Copyable, NegotiationTransport {
  let session: TLSSession

  borrowing func read(
    exactly count: Int, by deadline: Deadline
  ) throws(TransportError) -> [UInt8] {
    var got = 0
    do { return try session.readExactly(count, deadline: deadline, counting: &got) } catch {
      throw .tls(error, after: got)
    }
  }

  borrowing func write(_ bytes: [UInt8], by deadline: Deadline) throws(TransportError) {
    do { try session.writeAll(bytes, deadline: deadline) } catch { throw .tls(error, after: 0) }
  }
}
