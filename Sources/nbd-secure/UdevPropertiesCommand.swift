// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure udev-properties nbd0`: for the udev rule, which imports what it prints.
struct UdevPropertiesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "udev-properties", abstract: "Print properties of a device for udev.",
    shouldDisplay: false)

  @Argument var device: String

  mutating func run() throws {
    Diagnostics.print(try Attachments.deviceProperties(of: device))
  }
}
