// SPDX-License-Identifier: Apache-2.0

/// A wish to serve an export on a Unix socket: what the options of `proxy` say.
public struct ProxyRequest: Sendable, Hashable {
  public var connection: ConnectionRequest
  /// Where to listen.
  public var path: String
  /// Permission bits of the socket.
  public var mode: UInt32 = ProxyRequest.defaultMode
  public var readOnly = false
  /// How long I/O waits for a lost server before it fails, seconds; 0: no reconnection.
  public var reconnectTimeout: Double = 300
  /// A request unanswered for so long counts as a lost connection, seconds.
  public var ioTimeout: Double = 60
  /// Acknowledged but unflushed writes that are kept for a replay, for each client, MiB; 0 keeps
  /// none.
  public var flushWindow = AttachRequest.defaultFlushWindow

  /// For the owner alone.
  public static let defaultMode: UInt32 = 0o600

  /// Serves what `connection` names at `path`, with the defaults of the options.
  public init(_ connection: ConnectionRequest, listeningAt path: String) {
    self.connection = connection
    self.path = path
  }

  /// Checks the numbers.
  ///
  /// - Throws: `NBDSecureError` with `.usage`.
  public func validate() throws(NBDSecureError) {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw usage("--listen: must be the path of a socket")
    }
    guard path.utf8.count <= ListeningSocket.longestPath else {
      throw usage(
        "--listen \(path): longer than the \(ListeningSocket.longestPath) bytes that a socket's "
          + "path may have")
    }
    guard mode & ~0o777 == 0 else {
      throw usage("--socket-mode: must be permission bits, such as 0600")
    }
    guard (0...86400).contains(reconnectTimeout) else {
      throw usage("--reconnect-timeout: must be between 0 and 86400 seconds")
    }
    guard (1...86400).contains(ioTimeout) else {
      throw usage("--io-timeout: must be between 1 and 86400 seconds")
    }
    guard (0...1024).contains(flushWindow) else {
      throw usage("--flush-window \(flushWindow): must be between 0 and 1024 MiB")
    }
  }
}
