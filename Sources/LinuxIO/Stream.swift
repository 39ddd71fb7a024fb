// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// Reads `count` bytes from a socket. Returns fewer only where the stream ended.
/// Throws `timedOut` at the deadline.
package func receive(
  _ count: Int, from socket: Int32, until deadline: Deadline
) throws(Errno) -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: max(count, 0))
  var got = 0
  while got < bytes.count {
    let outcome = unsafe bytes.withUnsafeMutableBytes { buffer in
      unsafe receive(socket, into: UnsafeMutableRawBufferPointer(rebasing: buffer[got...]))
    }
    switch outcome {
    case .bytes(let more): got += more
    case .wouldBlock: try wait(socket, for: .read, until: deadline)
    case .closed: return Array(bytes[..<got])
    case .failed(let error): throw error
    }
  }
  return bytes
}

/// Sends all of `bytes` to a socket. Throws `timedOut` at the deadline, `brokenPipe` when the
/// other side is gone.
package func sendAll(
  _ bytes: [UInt8], to socket: Int32, until deadline: Deadline
) throws(Errno) {
  var sent = 0
  while sent < bytes.count {
    let outcome = unsafe bytes.withUnsafeBytes { buffer in
      unsafe send(socket, UnsafeRawBufferPointer(rebasing: buffer[sent...]))
    }
    switch outcome {
    case .bytes(let more): sent += more
    case .wouldBlock: try wait(socket, for: .write, until: deadline)
    case .closed: throw .brokenPipe
    case .failed(let error): throw error
    }
  }
}

/// Whether bytes wait unread in the socket right now. They stay there.
package func hasInput(_ socket: Int32) throws(Errno) -> Bool {
  try check(clinux_input_queued(socket)) > 0
}

/// Ends both directions of a socket; the other side, and any thread in poll, sees it at once.
package func shutdownSocket(_ socket: Int32) { _ = Glibc.shutdown(socket, Int32(SHUT_RDWR)) }
