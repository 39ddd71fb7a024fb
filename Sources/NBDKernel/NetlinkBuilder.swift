// SPDX-License-Identifier: Apache-2.0

/// Puts a netlink message together.
struct NetlinkBuilder {
  static let request: UInt16 = 1  // NLM_F_REQUEST
  static let acknowledge: UInt16 = 4  // NLM_F_ACK

  private(set) var bytes: [UInt8]

  /// Starts a message; its length is filled in by `finished`.
  init(type: UInt16, flags: UInt16 = request | acknowledge, sequence: UInt32) {
    bytes = NativeBytes.bytes(UInt32(0))
    bytes += NativeBytes.bytes(type)
    bytes += NativeBytes.bytes(flags)
    bytes += NativeBytes.bytes(sequence)
    bytes += NativeBytes.bytes(UInt32(0))
  }

  /// Starts a generic netlink message (struct genlmsghdr after the header).
  init(family: UInt16, command: UInt8, version: UInt8, sequence: UInt32) {
    self.init(type: family, sequence: sequence)
    bytes += [command, version, 0, 0]
  }

  mutating func append(_ raw: [UInt8]) { bytes += raw }

  mutating func put(_ type: UInt16, _ value: UInt32) {
    attribute(type, NativeBytes.bytes(value))
  }

  mutating func put(_ type: UInt16, _ value: UInt64) {
    attribute(type, NativeBytes.bytes(value))
  }

  /// A NUL-terminated string.
  mutating func put(_ type: UInt16, _ value: String) {
    attribute(type, value.utf8.prefix { $0 != 0 } + [0])
  }

  /// Attributes within an attribute.
  mutating func nest(_ type: UInt16, _ inside: (inout NetlinkBuilder) -> Void) {
    let start = bytes.count
    bytes += [0, 0]
    bytes += NativeBytes.bytes(type | NetlinkAttribute.nestedFlag)
    inside(&self)
    let length = NativeBytes.bytes(UInt16(clamping: bytes.count - start))
    bytes.replaceSubrange(start..<(start + 2), with: length)
  }

  private mutating func attribute(_ type: UInt16, _ payload: some Collection<UInt8>) {
    bytes += NativeBytes.bytes(UInt16(clamping: payload.count + NetlinkAttribute.headerSize))
    bytes += NativeBytes.bytes(type)
    bytes += payload
    while bytes.count % 4 != 0 { bytes.append(0) }
  }

  /// The message with its length.
  var finished: [UInt8] {
    var done = bytes
    done.replaceSubrange(0..<4, with: NativeBytes.bytes(UInt32(clamping: done.count)))
    return done
  }
}
