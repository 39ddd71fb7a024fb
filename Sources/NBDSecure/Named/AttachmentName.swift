// SPDX-License-Identifier: Apache-2.0

/// The name of an attachment: of its file, its service instance and its device link.
public struct AttachmentName: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// A name is at most this long, so that paths and unit names have room for it.
  public static let maximumLength = 64

  public let description: String

  /// Nil unless it is 1 to 64 of `A-Z a-z 0-9 . _ -` and begins with a letter or a digit: what
  /// needs no escaping in a path, a unit's name, a udev property and a shell.
  public init?(_ text: String) {
    func isWordCharacter(_ byte: UInt8) -> Bool {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
      default: false
      }
    }
    let others: [UInt8] = [UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-")]
    guard (1...Self.maximumLength).contains(text.utf8.count), let first = text.utf8.first,
      isWordCharacter(first),
      text.utf8.allSatisfy({ isWordCharacter($0) || others.contains($0) })
    else { return nil }
    description = text
  }

  /// Where udev puts the link to the device.
  public var link: String { "/dev/nbd-secure/\(description)" }

  public static func < (one: Self, other: Self) -> Bool { one.description < other.description }
}
