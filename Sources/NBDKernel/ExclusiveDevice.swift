// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
internal import LinuxIO
internal import SystemPackage

/// A device opened with O_EXCL: while it is, nobody can mount it or claim it otherwise.
package struct ExclusiveDevice: ~Copyable {
  private let file: Descriptor

  /// Opens the device. Waits for the server where the kernel has to read from it.
  ///
  /// - Throws: `KernelError`; `.busy` where someone else holds it.
  package init(_ device: DeviceIndex) throws(KernelError) {
    do throws(Errno) {
      file = try openFile(device.path, flags: O_RDONLY | O_EXCL)
    } catch {
      throw error == .resourceBusy
        ? KernelError(.busy, "\(device) is in use", errno: error)
        : KernelError(.refused, "\(device.path) cannot be opened: \(error)", errno: error)
    }
  }

  /// Writes back what the kernel has cached of it, and flushes it (fsync(2), BLKFLSBUF).
  package borrowing func flush() throws(KernelError) {
    guard fsync(file.raw) == 0, clinux_ioctl(file.raw, clinux_blkflsbuf, 0) == 0 else {
      let error = Errno.last
      throw KernelError(.refused, "the device cannot be flushed: \(error)", errno: error)
    }
  }
}
