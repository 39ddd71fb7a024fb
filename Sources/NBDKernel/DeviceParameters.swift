// SPDX-License-Identifier: Apache-2.0
internal import LinuxIO

/// What the kernel is told about a device when it is connected.
package struct DeviceParameters: Hashable, Sendable {
  /// NBD_FLAG_READ_ONLY of the server flags.
  static let readOnlyFlag: UInt16 = 1 << 1

  /// In bytes.
  package var size: UInt64
  /// The logical block size in bytes: a power of two, at least 512.
  package var blockSize: UInt32
  /// The server's transmission flags, as on the wire.
  package var flags: UInt16
  /// Seconds until an unanswered request counts as a dead connection. Always set: 0 waits for ever.
  package var timeoutSeconds: UInt64
  /// Seconds that requests wait for a new connection after the last one died. 0: they fail at once.
  package var deadConnTimeoutSeconds: UInt64
  /// What the device is recognised by in /sys/block/nbdN/backend. Empty: left out.
  package var backendIdentifier: String

  package init(
    size: UInt64, blockSize: UInt32, flags: UInt16, timeoutSeconds: UInt64,
    deadConnTimeoutSeconds: UInt64, backendIdentifier: String
  ) {
    self.size = size
    self.blockSize = blockSize
    self.flags = flags
    self.timeoutSeconds = timeoutSeconds
    self.deadConnTimeoutSeconds = deadConnTimeoutSeconds
    self.backendIdentifier = backendIdentifier
  }

  /// Whether the kernel will refuse writes.
  package var isReadOnly: Bool { flags & Self.readOnlyFlag != 0 }

  /// Refuses what the kernel cannot have, before it is asked.
  package func check(maximumBlockSize: UInt32) throws(KernelError) {
    guard blockSize >= 512, blockSize & (blockSize - 1) == 0 else {
      throw KernelError(
        .unsupported, "a block size of \(blockSize) bytes is not a power of two of at least 512")
    }
    guard blockSize <= maximumBlockSize else {
      throw KernelError(
        .unsupported,
        "the block size of \(blockSize) bytes is above the \(maximumBlockSize) that this kernel can"
          + " have", hint: "use a kernel with larger block sizes, or proxy")
    }
    // The kernel's loff_t; its sector count of 512 bytes each fits whenever this does.
    guard size <= UInt64(Int64.max) else {
      throw KernelError(.unsupported, "a size of \(size) bytes is too large for the kernel")
    }
    guard size > 0, size % UInt64(blockSize) == 0 else {
      throw KernelError(
        .unsupported, "a size of \(size) bytes is not a positive multiple of \(blockSize)")
    }
  }
}
