// SPDX-License-Identifier: Apache-2.0

/// A message that is cut short, or whose lengths contradict each other.
package struct NetlinkFormatError: Error, Hashable, Sendable {
  package let message: String
}

/// One netlink message (struct nlmsghdr and what follows it).
package struct NetlinkMessage: Hashable, Sendable {
  /// NLMSG_ERROR: an error, or with 0 the acknowledgement.
  package static let errorType: UInt16 = 2
  /// NLMSG_DONE: the end of a dump.
  package static let doneType: UInt16 = 3
  static let headerSize = 16

  package let type: UInt16
  package let flags: UInt16
  package let sequence: UInt32
  package let port: UInt32
  package let payload: [UInt8]

  /// The messages of one datagram. Stray bytes after the last one, too few for a header, are
  /// alignment and ignored.
  package static func parse(_ datagram: [UInt8]) throws(NetlinkFormatError) -> [NetlinkMessage] {
    var messages: [NetlinkMessage] = []
    var rest = datagram[...]
    while rest.count >= headerSize {
      guard let length = NativeBytes.uint32(rest, at: 0),
        let type = NativeBytes.uint16(rest, at: 4),
        let flags = NativeBytes.uint16(rest, at: 6), let sequence = NativeBytes.uint32(rest, at: 8),
        let port = NativeBytes.uint32(rest, at: 12)
      else { break }
      guard length >= headerSize, length <= rest.count else {
        throw NetlinkFormatError(
          message: "a message of \(length) bytes where \(rest.count) are left")
      }
      messages.append(
        NetlinkMessage(
          type: type, flags: flags, sequence: sequence, port: port,
          payload: Array(rest.dropFirst(headerSize).prefix(Int(length) - headerSize))))
      rest = rest.dropFirst(NativeBytes.aligned(Int(length)))
    }
    return messages
  }
}

/// The kernel's verdict on a request (struct nlmsgerr).
package struct NetlinkVerdict: Hashable, Sendable {
  private static let capped: UInt16 = 0x100  // NLM_F_CAPPED
  private static let hasAttributes: UInt16 = 0x200  // NLM_F_ACK_TLVS
  private static let messageAttribute: UInt16 = 1  // NLMSGERR_ATTR_MSG

  /// 0 for success, else a positive errno.
  package let code: Int32
  /// What the kernel says to it, where it says something.
  package let text: String?

  /// Reads the payload of an NLMSG_ERROR message. A text that cannot be read is left out.
  package init(_ message: NetlinkMessage) throws(NetlinkFormatError) {
    guard let raw = NativeBytes.uint32(message.payload[...], at: 0) else {
      throw NetlinkFormatError(message: "an acknowledgement without a result")
    }
    let signed = Int32(bitPattern: raw)
    code = signed == .min ? .max : abs(signed)
    guard message.flags & Self.hasAttributes != 0,
      let echoed = NativeBytes.uint32(message.payload[...], at: 4)
    else {
      text = nil
      return
    }
    // The request comes back whole, or its header alone.
    let skipped =
      message.flags & Self.capped != 0
      ? NetlinkMessage.headerSize : NativeBytes.aligned(Int(min(echoed, 1 << 20)))
    let attributes = try? NetlinkAttribute.parse(message.payload.dropFirst(4 + skipped))
    text = attributes?.first { $0.type == Self.messageAttribute }?.string
  }
}

/// One attribute (struct nlattr).
package struct NetlinkAttribute: Hashable, Sendable {
  static let headerSize = 4
  static let nestedFlag: UInt16 = 0x8000
  static let typeMask: UInt16 = 0x3fff

  /// Without the flags for nesting and byte order.
  package let type: UInt16
  package let payload: [UInt8]

  /// The attributes in a run of bytes.
  package static func parse(
    _ bytes: ArraySlice<UInt8>
  ) throws(NetlinkFormatError) -> [NetlinkAttribute] {
    var attributes: [NetlinkAttribute] = []
    var rest = bytes
    while rest.count >= headerSize {
      guard let length = NativeBytes.uint16(rest, at: 0), let type = NativeBytes.uint16(rest, at: 2)
      else { break }
      guard length >= headerSize, length <= rest.count else {
        throw NetlinkFormatError(
          message: "an attribute of \(length) bytes where \(rest.count) are left")
      }
      attributes.append(
        NetlinkAttribute(
          type: type & typeMask,
          payload: Array(rest.dropFirst(headerSize).prefix(Int(length) - headerSize))))
      rest = rest.dropFirst(NativeBytes.aligned(Int(length)))
    }
    return attributes
  }

  /// The attributes inside this one.
  package func nested() throws(NetlinkFormatError) -> [NetlinkAttribute] {
    try Self.parse(payload[...])
  }

  /// The value as a number, nil when it has another length.
  package var uint8: UInt8? { payload.count == 1 ? payload[0] : nil }
  package var uint16: UInt16? {
    payload.count == 2 ? NativeBytes.uint16(payload[...], at: 0) : nil
  }
  package var uint32: UInt32? {
    payload.count == 4 ? NativeBytes.uint32(payload[...], at: 0) : nil
  }
  /// The value as text, up to the first NUL.
  package var string: String { String(decoding: payload.prefix { $0 != 0 }, as: UTF8.self) }
}

/// Numbers in the byte order of the machine, as netlink has them.
enum NativeBytes {
  static func uint16(_ bytes: ArraySlice<UInt8>, at offset: Int) -> UInt16? {
    number(bytes, at: offset)
  }

  static func uint32(_ bytes: ArraySlice<UInt8>, at offset: Int) -> UInt32? {
    number(bytes, at: offset)
  }

  private static func number<T: FixedWidthInteger>(
    _ bytes: ArraySlice<UInt8>, at offset: Int
  ) -> T? {
    let size = T.bitWidth / 8
    guard offset >= 0, bytes.count >= size, offset <= bytes.count - size else { return nil }
    let start = bytes.startIndex + offset
    var value: T = 0
    for byte in bytes[start..<(start + size)] { value = value << 8 | T(byte) }
    // Read as big-endian above; this turns it into what the machine would have read.
    return T(bigEndian: value)
  }

  static func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    let big = value.bigEndian
    return (0..<(T.bitWidth / 8)).map { place in
      UInt8(truncatingIfNeeded: big >> T(T.bitWidth - 8 - 8 * place))
    }
  }

  /// Netlink aligns everything to four bytes.
  static func aligned(_ length: Int) -> Int { (length + 3) & ~3 }
}
