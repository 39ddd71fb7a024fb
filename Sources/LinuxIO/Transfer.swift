// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// The outcome of one read or write in a loop that neither allocates nor throws.
package enum Transfer: Hashable, Sendable {
  /// So many bytes were moved, at least one.
  case bytes(Int)
  /// Nothing could be moved now: poll and try again.
  case wouldBlock
  /// The other side has ended the stream (reads), or is gone (EPIPE on writes).
  case closed
  /// Any other error.
  case failed(Errno)

  @inline(__always)
  init(_ result: Int, reading: Bool) {
    if result > 0 {
      self = .bytes(result)
    } else if result == 0 {
      self = reading ? .closed : .bytes(0)
    } else {
      switch Glibc.errno {
      case EAGAIN, EINTR: self = .wouldBlock
      case EPIPE: self = .closed
      case let other: self = .failed(Errno(rawValue: other))
      }
    }
  }
}

/// One `recv` that never blocks.
package func receive(_ socket: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
  unsafe Transfer(
    recv(socket, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT)), reading: true)
}

/// One `send` that neither blocks nor raises SIGPIPE.
package func send(_ socket: Int32, _ bytes: UnsafeRawBufferPointer) -> Transfer {
  unsafe Transfer(
    Glibc.send(
      socket, bytes.baseAddress, bytes.count,
      Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)), reading: false)
}

/// One gathered send of two runs of bytes that neither blocks nor raises SIGPIPE.
package func sendGathered(
  _ socket: Int32, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
) -> Transfer {
  unsafe Transfer(
    clinux_send_gathered(
      socket, first.baseAddress, first.count, second.baseAddress, second.count), reading: false)
}

/// One `read` of any descriptor; blocks unless the descriptor is non-blocking.
package func readSome(_ file: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
  unsafe Transfer(Glibc.read(file, buffer.baseAddress, buffer.count), reading: true)
}

/// One `write` to any descriptor; blocks unless the descriptor is non-blocking.
package func writeSome(_ file: Int32, _ bytes: UnsafeRawBufferPointer) -> Transfer {
  unsafe Transfer(Glibc.write(file, bytes.baseAddress, bytes.count), reading: false)
}
