// SPDX-License-Identifier: Apache-2.0
import LinuxIO

/// Why a connection to the server is of no more use.
struct LinkLost: Error, Sendable {
  /// One line, for logs and for `status`.
  let reason: String
  /// The server broke the protocol, rather than went away.
  var brokeProtocol = false
}

/// The way to the server in the transmission phase: a TLS session, or a plain socket where that
/// was explicitly allowed. Never blocks; one thread at a time.
protocol Channel: AnyObject {
  /// Reads what is there: a count of bytes, 0 when nothing is there now.
  func receive(into buffer: UnsafeMutableRawBufferPointer) throws(LinkLost) -> Int
  /// Whether `receive` has something without the socket becoming readable.
  var hasBufferedInput: Bool { get }
  /// Takes bytes for sending: a count, 0 when no more fit before a `flush`.
  func send(_ bytes: UnsafeRawBufferPointer) throws(LinkLost) -> Int
  /// Sends what `send` took; whether nothing is left.
  func flush() throws(LinkLost) -> Bool
  /// Bytes taken but not sent.
  var pendingOutput: Int { get }
  /// Whether the connection should be replaced by a new one before more is sent.
  var isWornOut: Bool { get }
  /// The socket, for poll(2).
  var rawDescriptor: Int32 { get }
  /// Ends the connection in an orderly way, within the deadline.
  func close(by deadline: Deadline)
  /// Cuts the connection at once: nothing is sent or received any more.
  func cut()
}
