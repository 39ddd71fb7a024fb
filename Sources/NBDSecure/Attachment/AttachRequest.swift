// SPDX-License-Identifier: Apache-2.0

/// A wish to attach an export as a block device: what the options of `attach` say.
public struct AttachRequest: Sendable, Hashable {
  /// How bytes go between the kernel and the server.
  public enum DataPath: String, Sendable, CaseIterable { case auto, relay, ktls }
  /// The kernel interface.
  public enum Binding: String, Sendable, CaseIterable { case auto, netlink, ioctl }

  public var connection: ConnectionRequest
  /// The attachment's name, where it has one.
  public var name: AttachmentName?
  /// `nbd0` or `/dev/nbd0`; nil lets the kernel pick.
  public var device: String?
  public var readOnly = false
  public var connections = 1
  public var dataPath = DataPath.auto
  public var binding = Binding.auto
  /// Logical block size shown to the kernel, bytes; nil takes the server's minimum.
  public var blockSize: UInt32?
  /// How long I/O waits for a lost server before it fails, seconds; 0: no reconnection.
  public var reconnectTimeout: Double = 300
  /// A request unanswered for so long counts as a lost connection, seconds.
  public var ioTimeout: Double = 60
  /// Acknowledged but unflushed writes that are kept for a replay, MiB; 0 keeps none.
  public var flushWindow = AttachRequest.defaultFlushWindow

  public static let defaultFlushWindow = Relay.Limits.defaultFlushWindow >> 20
  public static let maximumConnections = 16

  /// Attaches what `connection` names, with the defaults of the options.
  public init(_ connection: ConnectionRequest) { self.connection = connection }

  /// Checks the numbers and that the options go together.
  ///
  /// - Throws: `NBDSecureError` with `.usage`.
  public func validate() throws(NBDSecureError) {
    guard (1...Self.maximumConnections).contains(connections) else {
      throw usage("--connections \(connections): must be between 1 and \(Self.maximumConnections)")
    }
    if let blockSize {
      guard blockSize.nonzeroBitCount == 1, (512...65536).contains(blockSize) else {
        throw usage("--block-size \(blockSize): must be a power of two between 512 and 65536")
      }
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
    if dataPath == .ktls {
      guard binding != .ioctl else { throw usage("--data-path ktls needs --binding netlink") }
      guard case .tcp = connection.endpoint.transport, !connection.isPlaintext else {
        throw usage("--data-path ktls needs TLS over TCP")
      }
    }
  }
}
