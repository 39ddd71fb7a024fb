// SPDX-License-Identifier: Apache-2.0
internal import LinuxIO

extension DeviceHolder {
  /// Whether it goes by itself: udev looks at every device that changed.
  package var isPassing: Bool {
    guard case .process(_, let command) = self else { return false }
    return ["(udev-worker)", "udev-worker", "systemd-udevd"].contains(command)
  }
}

extension DeviceUse {
  /// How long udev may look at a device, seconds.
  private static let patience: Double = 5

  /// Everybody who uses the device and does not go by himself: a device that was attached a moment
  /// ago is still being looked at by udev.
  package func lastingHolders(
    of device: DeviceIndex, ignoring ignored: Set<Int32> = []
  ) -> [DeviceHolder] {
    let deadline = Deadline.after(seconds: Self.patience)
    while true {
      let found = holders(of: device, ignoring: ignored)
      guard !found.isEmpty, found.allSatisfy(\.isPassing), !deadline.hasPassed else { return found }
      sleep(seconds: 0.02, until: deadline)
    }
  }
}
