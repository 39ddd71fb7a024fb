// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
internal import LinuxIO
internal import SystemPackage

/// What is done with a device through its node.
package enum BlockDevice {
  /// Opens the device once, which makes the kernel read its partition table.
  package static func scanPartitions(_ device: DeviceIndex) throws(KernelError) {
    _ = try open(device, flags: O_RDONLY)
  }

  private static func open(_ device: DeviceIndex, flags: Int32) throws(KernelError) -> Descriptor {
    do throws(Errno) {
      return try openFile(device.path, flags: flags)
    } catch {
      let kind: KernelError.Kind =
        switch error {
        case .noSuchFileOrDirectory, .operationNotSupportedByDevice, .noSuchAddressOrDevice:
          .noSuchDevice
        case .permissionDenied, .notPermitted: .notPermitted
        case .resourceBusy: .busy
        default: .refused
        }
      throw KernelError(kind, "\(device.path) cannot be opened: \(error)", errno: error)
    }
  }
}
