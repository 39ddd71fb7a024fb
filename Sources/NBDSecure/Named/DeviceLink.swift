// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel

/// The link `/dev/nbd-secure/NAME`, which udev makes (packaging/udev): it looks at a
/// device whenever the kernel says that it changed.
struct DeviceLink {
  /// How long udev may take, seconds. It is not waited for any longer: the device works without.
  private static let patience: Double = 10
  private static let udevSocket = "/run/udev/control"
  private static let rule = "udev/rules.d/60-nbd-secure.rules"

  private let device: DeviceIndex
  private let name: AttachmentName

  init(_ device: DeviceIndex, _ name: AttachmentName) {
    self.device = device
    self.name = name
  }

  /// Has udev look at the device, now that its state file is there, and may wait for the link.
  func announce(waiting: Bool) {
    Self.changed(device.name)
    // A partition's link carries the name that its disk has by then.
    for partition in Sysfs().partitions(device).keys { Self.changed("\(device.name)/\(partition)") }
    guard waiting, fileExists(Self.udevSocket),
      ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"].contains(where: { place in
        fileExists("\(place)/\(Self.rule)")
      })
    else { return }
    let deadline = Deadline.after(seconds: Self.patience)
    while realPath(name.link) != device.path, !deadline.hasPassed {
      sleep(seconds: 0.01, until: deadline)
    }
  }

  /// Has udev look at a device again: "nbd0", or "nbd0/nbd0p1" for a partition.
  static func changed(_ device: String) {
    // Where /sys cannot be written nobody but the link's user misses anything.
    try? writeExisting("/sys/block/\(device)/uevent", "change")
  }
}
