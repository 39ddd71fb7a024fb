// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel
import NBDProtocol

/// An export as it was when the device was attached, kept in the state file: a supervisor that
/// adopts the device holds a server to it, as one that reconnects does.
struct RecordedExport: Codable, Sendable, Hashable {
  var size: UInt64
  var flags: UInt16
  /// The smallest, the preferred and the largest; none where the server said nothing.
  var blockSizes: [UInt32] = []

  init(_ export: Export) {
    size = export.size
    flags = export.flags.rawValue
    if let sizes = export.blockSizes {
      blockSizes = [sizes.minimum, sizes.preferred, sizes.maximum]
    }
  }

  /// What differs, so that the device cannot go on with `other`; nil when it can.
  func difference(to other: Export) -> String? {
    var sizes: BlockSizes?
    if blockSizes.count == 3 {
      sizes = try? BlockSizes(
        minimum: blockSizes[0], preferred: blockSizes[1], maximum: blockSizes[2])
    }
    let recorded = Export(
      name: other.name, size: size, flags: ExportFlags(rawValue: flags), blockSizes: sizes)
    return recorded.difference(to: other)
  }
}

/// Whether a device whose supervisor is dead can go on with an export. The kernel keeps what it was
/// told at first: a server with less would fail its requests.
struct Adoption {
  let device: DeviceIndex
  /// What the dead supervisor wrote down; nil where its state file is gone.
  let recorded: RecordedExport?
  var sysfs = Sysfs()

  /// - Throws: `NBDSecureError` with `.kernel` where it cannot.
  func check(_ export: Export, plan: DevicePlan) throws(NBDSecureError) {
    if let size = sysfs.size(device), size != plan.size {
      throw refusal("its size is \(size) bytes, but the export's is \(plan.size)")
    }
    let told = recorded.map { $0.difference(to: export) } ?? lack(of: plan.flags)
    if let difference = told ?? difference(of: plan) {
      throw refusal("the server's export is not the same: \(difference)")
    }
  }

  private func refusal(_ why: String) -> NBDSecureError {
    NBDSecureError(
      .kernel, "\(device.path): \(why)",
      hint: "detach it first: nbd-secure detach --force \(device.name)")
  }

  private func difference(of plan: DevicePlan) -> String? {
    if let block = sysfs.queueLimit(device, "logical_block_size"), block != UInt64(plan.blockSize) {
      return "its block sizes changed"
    }
    let becameReadOnly = plan.flags.contains(.readOnly) && !sysfs.isReadOnly(device)
    return becameReadOnly ? "it is read-only now" : nil
  }

  /// Without a record: what the device's queue is made for and the server lacks. The kernel does not
  /// show all flags, older ones show fewer, and what an administrator turned off is not missed.
  private func lack(of flags: ExportFlags) -> String? {
    let needs: [(limits: [String], flag: ExportFlags)] = [
      (["fua"], .sendFUA),
      // Linux 5 has a largest discard for devices that take none, too.
      (["discard_max_bytes", "discard_granularity"], .sendTrim),
      (["write_zeroes_max_bytes"], .sendWriteZeroes),
    ]
    var lacks = sysfs.hasWriteCache(device) && !flags.contains(.sendFlush)
    for (limits, flag) in needs where !flags.contains(flag) {
      lacks = lacks || limits.allSatisfy { (sysfs.queueLimit(device, $0) ?? 0) > 0 }
    }
    return lacks ? "its flags changed" : nil
  }
}
