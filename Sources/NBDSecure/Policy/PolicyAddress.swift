// SPDX-License-Identifier: Apache-2.0

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) is the IPv4
/// address it stands for: otherwise `::ffff:10.0.0.1` would walk past a rule about 10.0.0.1.
struct PolicyAddress: Hashable, Sendable {
  /// 4 or 16 bytes.
  let bytes: [UInt8]

  /// Reads a numeric address. Brackets and a zone (`%eth0`) are ignored; nil for anything else,
  /// the historical forms of inet_aton(3) included.
  init?(_ text: String) {
    var plain = text[...]
    if plain.hasPrefix("["), plain.hasSuffix("]") { plain = plain.dropFirst().dropLast() }
    if plain.contains(":"), let zone = plain.firstIndex(of: "%") { plain = plain[..<zone] }
    guard let bytes = Self.ipv4(plain) ?? Self.ipv6(plain) else { return nil }
    let isMapped =
      bytes.count == 16 && bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xff
      && bytes[11] == 0xff
    self.bytes = isMapped ? Array(bytes[12...]) : bytes
  }

  /// 127.0.0.0/8 (RFC 1122, section 3.2.1.3) or ::1.
  var isLoopback: Bool {
    bytes.count == 4
      ? bytes[0] == 127 : bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1
  }

  private static func ipv4(_ text: Substring) -> [UInt8]? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var bytes: [UInt8] = []
    for part in parts {
      // A leading zero is octal to some parsers and decimal to others.
      guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy(isDigit),
        part == "0" || !part.hasPrefix("0"), let byte = UInt8(part)
      else { return nil }
      bytes.append(byte)
    }
    return bytes
  }

  private static func ipv6(_ text: Substring) -> [UInt8]? {
    var groups = text.split(separator: ":", omittingEmptySubsequences: false)
    guard (3...9).contains(groups.count), groups[0] != "" || groups[1] == "",
      groups[groups.count - 1] != "" || groups[groups.count - 2] == ""
    else { return nil }
    var tail: [UInt8] = []
    if let last = groups.last, last.contains(".") {
      guard let quad = ipv4(last) else { return nil }
      tail = quad
      groups.removeLast()
      // "…::1.2.3.4" leaves its "::" at the end: put back the empty group that marks it.
      if groups.last == "", groups.count >= 2 { groups.append("") }
    }
    // A "::" at either end splits into two empty groups: keep one.
    if groups.count >= 2, groups[0] == "", groups[1] == "" { groups.removeFirst() }
    if groups.count >= 2, groups.suffix(2).allSatisfy(\.isEmpty) { groups.removeLast() }
    let gaps = groups.indices.filter { groups[$0].isEmpty }
    guard gaps.count <= 1 else { return nil }
    var head: [UInt8] = []
    var end: [UInt8] = []
    for (index, group) in groups.enumerated() where !group.isEmpty {
      guard group.utf8.count <= 4, group.utf8.allSatisfy(isHexDigit),
        let value = UInt16(group, radix: 16)
      else { return nil }
      let pair = [UInt8(value >> 8), UInt8(value & 0xff)]
      if let gap = gaps.first, index > gap { end += pair } else { head += pair }
    }
    end += tail
    let missing = 16 - head.count - end.count
    guard gaps.isEmpty ? missing == 0 : missing >= 2 else { return nil }
    return head + [UInt8](repeating: 0, count: missing) + end
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private static func isHexDigit(_ byte: UInt8) -> Bool {
    isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
  }
}

/// An address or a CIDR block (RFC 4632).
struct PolicyAddressBlock: Hashable, Sendable {
  let text: String
  private let base: PolicyAddress
  private let length: Int

  /// `ADDRESS` or `ADDRESS/LENGTH`; nil where it is neither, or has bits set after the prefix:
  /// `10.1.2.3/8` is as likely a slip for /32 as for 10.0.0.0/8.
  init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let base = PolicyAddress(String(first)) else { return nil }
    var length = base.bytes.count * 8
    if parts.count == 2 {
      guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let given = Int(parts[1]),
        given <= length
      else { return nil }
      length = given
    }
    self.text = text
    self.base = base
    self.length = length
    guard Self.prefix(base, length) == base.bytes else { return nil }
  }

  func contains(_ address: PolicyAddress) -> Bool {
    address.bytes.count == base.bytes.count && Self.prefix(address, length) == base.bytes
  }

  private static func prefix(_ address: PolicyAddress, _ length: Int) -> [UInt8] {
    address.bytes.enumerated().map { index, byte in
      let kept = min(max(length - index * 8, 0), 8)
      return byte & ~UInt8(truncatingIfNeeded: 0xff >> kept)
    }
  }
}
