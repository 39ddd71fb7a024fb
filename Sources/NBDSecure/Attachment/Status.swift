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
  /// "connected", "reconnecting", "failed", "unsupervised" (kernel TLS without a process),
  /// "orphaned" (its supervisor is dead, and `attach` with the same arguments adopts it),
  /// "releasing" (disconnected, and there until its last user has closed it; told to root), or
  /// "unknown": its supervisor lives, and its state file is missing.
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
  /// What is no error and needs somebody's care, one line each: a certificate, the server's or ours,
  /// that ends soon.
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
    let presence = Presence()
    var found: [DeviceIndex: AttachmentStatus] = [:]
    for device in presence.sysfs.devices() where presence.sysfs.isConnected(device) {
      found[device] = status(of: device, presence)
    }
    guard !devices.isEmpty else { return found.sorted { $0.key < $1.key }.map(\.value) }
    var asked: [AttachmentStatus] = []
    for text in devices {
      let status = try status(of: text, among: found)
      if !asked.contains(where: { $0.device == status.device }) { asked.append(status) }
    }
    return asked
  }

  private static func status(
    of text: String, among found: [DeviceIndex: AttachmentStatus]
  ) throws(NBDSecureError) -> AttachmentStatus {
    if let named = found.values.first(where: { $0.name == text }) { return named }
    guard !text.isEmpty else { throw usage("the device: must not be empty") }
    guard let device = DeviceIndex(text) else {
      if let name = AttachmentName(text), NamedAttachment.names().contains(name) {
        throw NBDSecureError(
          .kernel, "\(text): not attached", hint: "nbd-secure up \(text) attaches it")
      }
      throw usage(
        "\(text): neither an nbd device nor an attachment's name",
        hint: "devices are called nbd0 or /dev/nbd0; nbd-secure status lists what is attached")
    }
    guard let status = found[device] else { throw notAttached(device) }
    return status
  }

  /// What is known of a connected device; nil where it is not one of ours.
  private static func status(
    of device: DeviceIndex, _ presence: Presence
  ) -> AttachmentStatus? {
    guard let identifier = presence.identifier(of: device) else { return nil }
    let (sysfs, directory) = (presence.sysfs, presence.directory)
    let state = presence.state(of: device)
    let supervisor = directory.supervisor(of: identifier)
    var link = state?.link.rawValue ?? "unknown"
    var lastError = state?.lastError
    if state == nil || supervisor == nil, presence.isReleasing(device, identifier) {
      link = "releasing"
    } else if let state, state.link == .unsupervised {
      if !state.hasLiveSockets {
        link = AttachmentState.Link.failed.rawValue
        lastError = "the connection is gone, and nobody reconnects (--reconnect-timeout 0)"
      }
    } else if supervisor == nil {
      link = "orphaned"
    }
    let statistics = sysfs.statistics(device)
    return AttachmentStatus(
      device: device.path, name: state?.name, state: link, since: state?.since,
      attachedSince: state?.attachedSince,
      server: state?.server, address: state?.address, export: state?.export,
      size: sysfs.size(device) ?? 0, readOnly: sysfs.isReadOnly(device),
      blockSize: state?.blockSize, connections: state?.connections, dataPath: state?.dataPath,
      binding: state?.binding, pid: link == "releasing" ? nil : supervisor,
      attempts: state?.attempts,
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

  static func notAttached(_ device: DeviceIndex) -> NBDSecureError {
    NBDSecureError(
      .kernel, "\(device.path): not attached",
      hint: "nbd-secure status lists what is attached")
  }
}
