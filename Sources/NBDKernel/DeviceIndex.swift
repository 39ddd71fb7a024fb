// SPDX-License-Identifier: Apache-2.0

/// The number of an nbd device, as in /dev/nbd0.
package struct DeviceIndex: Hashable, Comparable, Sendable {
  package let rawValue: UInt32

  package init(_ rawValue: UInt32) { self.rawValue = rawValue }

  /// Parses "nbd0" or "/dev/nbd0"; nil for anything else, a partition ("nbd0p1") included.
  package init?(_ text: String) {
    let name = text.hasPrefix("/dev/") ? text.dropFirst("/dev/".count) : text[...]
    guard name.hasPrefix("nbd") else { return nil }
    let digits = name.dropFirst(3)
    // Minor numbers have 20 bits, and the driver reserves at least one for each device.
    guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }),
      digits == "0" || !digits.hasPrefix("0"), let number = UInt32(digits), number < 1 << 20
    else { return nil }
    rawValue = number
  }

  /// "nbd0"
  package var name: String { "nbd\(rawValue)" }
  /// "/dev/nbd0"
  package var path: String { "/dev/nbd\(rawValue)" }

  package static func < (a: DeviceIndex, b: DeviceIndex) -> Bool { a.rawValue < b.rawValue }
}

extension DeviceIndex: CustomStringConvertible {
  package var description: String { name }
}
