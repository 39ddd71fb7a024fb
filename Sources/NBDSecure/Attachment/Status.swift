// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel

/// One attachment as `status` tells it: what its supervisor says, checked against the kernel, and
/// the kernel's counters.
public struct AttachmentStatus: Codable, Sendable, Hashable {
  /// `/dev/nbdN`.
  public var device: String
  /// The attachment's name, where it has one.
  public var name: String?
  /// "connected", "reconnecting", "failed", "unsupervised" (kernel TLS without a process), or
  /// "orphaned": its supervisor is dead, and `attach` with the same arguments adopts it.
  public var state: String
  /// Since when it is in that state, seconds since 1970.
  public var since: Int64?
  public var attachedSince: Int64?
  public var server: String?
  public var address: String?
  public var export: String?
  /// Bytes.
  public var size: UInt64
  public var readOnly: Bool
  /// Bytes.
  public var blockSize: UInt32?
  public var connections: Int?
  public var dataPath: String?
  public var binding: String?
  /// The supervisor.
  public var pid: Int32?
  public var attempts: Int?
  public var lastError: String?
  public var reconnections: Int?
  public var reconnectTimeout: Double?
  public var ioTimeout: Double?
  public var tls: TLSReport?
  /// What is no error and needs somebody's care, one line each: a server's certificate that ends
  /// soon.
  public var warnings: [String] = []
  /// The kernel's counters since the device exists.
  public var counters: Counters
  /// How long requests took; nil where they do not go through a relay.
  public var latency: LatencyHistogram?

  /// The kernel's counters of a block device.
  public struct Counters: Codable, Sendable, Hashable {
    public var inFlight: UInt64
    public var reads: UInt64
    public var bytesRead: UInt64
    public var writes: UInt64
    public var bytesWritten: UInt64
    public var flushes: UInt64
    public var discards: UInt64
    /// Time that requests took in all, milliseconds.
    public var readMilliseconds: UInt64
    public var writeMilliseconds: UInt64
    public var flushMilliseconds: UInt64
    public var discardMilliseconds: UInt64
  }
}

/// The attachments of this host.
public enum Attachments {
  /// All of them, or those of `devices` (`nbd0` or `/dev/nbd0`, or an attachment's name).
  ///
  /// - Throws: `NBDSecureError`: `.usage` for a name that is no device's, `.kernel` for a device
  ///   that is not attached by this program.
  public static func status(of devices: [String] = []) throws(NBDSecureError) -> [AttachmentStatus]
  {
    let sysfs = Sysfs()
    let directory = StateDirectory.standard
    let known = Dictionary(
      directory.all().map { ($0.device, $0) }, uniquingKeysWith: { first, _ in first })
    var found: [DeviceIndex: AttachmentStatus] = [:]
    for device in sysfs.devices() where sysfs.isConnected(device) {
      found[device] = status(of: device, recorded: known[device.name], sysfs, directory)
    }
    guard !devices.isEmpty else { return found.sorted { $0.key < $1.key }.map(\.value) }
    return try devices.map { text throws(NBDSecureError) in
      if let named = found.values.first(where: { $0.name == text }) { return named }
      let device = try deviceIndex(text)
      guard let status = found[device] else { throw notAttached(device) }
      return status
    }
  }

  /// What is known of a connected device; nil where it is not one of ours.
  private static func status(
    of device: DeviceIndex, recorded: AttachmentState?, _ sysfs: Sysfs,
    _ directory: StateDirectory
  ) -> AttachmentStatus? {
    let backend = sysfs.backend(device)
    // A file that an earlier attachment of this device left says nothing about this one.
    let state = recorded.flatMap { backend == nil || backend == $0.identifier ? $0 : nil }
    guard state != nil || isOurs(backend) else { return nil }
    let identifier = state?.identifier ?? backend ?? ""
    let alive = directory.isSupervised(identifier)
    var link = state?.link.rawValue ?? "orphaned"
    var lastError = state?.lastError
    if let state, state.link == .unsupervised {
      if !state.hasLiveSockets {
        link = AttachmentState.Link.failed.rawValue
        lastError = "the connection is gone, and nobody reconnects (--reconnect-timeout 0)"
      }
    } else if !alive {
      link = "orphaned"
    }
    let statistics = sysfs.statistics(device)
    return AttachmentStatus(
      device: device.path, name: state?.name, state: link, since: state?.since,
      attachedSince: state?.attachedSince,
      server: state?.server, address: state?.address, export: state?.export,
      size: sysfs.size(device) ?? 0, readOnly: sysfs.isReadOnly(device),
      blockSize: state?.blockSize, connections: state?.connections, dataPath: state?.dataPath,
      binding: state?.binding, pid: alive ? state?.pid : nil, attempts: state?.attempts,
      lastError: lastError, reconnections: state?.reconnections,
      reconnectTimeout: state?.reconnectTimeout, ioTimeout: state?.ioTimeout, tls: state?.tls,
      warnings: state?.warnings() ?? [],
      counters: AttachmentStatus.Counters(
        inFlight: statistics?.inFlight ?? 0, reads: statistics?.reads ?? 0,
        bytesRead: statistics?.bytesRead ?? 0, writes: statistics?.writes ?? 0,
        bytesWritten: statistics?.bytesWritten ?? 0, flushes: statistics?.flushes ?? 0,
        discards: statistics?.discards ?? 0,
        readMilliseconds: statistics?.readMilliseconds ?? 0,
        writeMilliseconds: statistics?.writeMilliseconds ?? 0,
        flushMilliseconds: statistics?.flushMilliseconds ?? 0,
        discardMilliseconds: statistics?.discardMilliseconds ?? 0),
      latency: state?.dataPath == "relay"
        ? LatencyCounters.read(path: directory.latency(of: identifier)) : nil)
  }

  /// Whether a backend identifier has the form of ours: a SHA-256 in hex.
  private static func isOurs(_ backend: String?) -> Bool {
    guard let backend else { return false }
    return backend.utf8.count == 64 && backend.allSatisfy(\.isHexDigit)
  }

  static func notAttached(_ device: DeviceIndex) -> NBDSecureError {
    NBDSecureError(
      .kernel, "\(device.path): not attached",
      hint: "nbd-secure status lists what is attached")
  }
}
