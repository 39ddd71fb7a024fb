// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol

/// The spellings of a host that are taken.
///
/// Policy compares names, the resolver and certificates read them: whatever one of these would
/// rewrite (an escape, an empty label, another letter) would be a way round a rule about the name.
enum HostName {
  private static let longestLabel = 63
  private static let longest = 253

  /// Takes a name of letters, digits, `-` and `_` between dots, one of which may stand at the end,
  /// or a numeric address, in brackets or not.
  ///
  /// - Returns: the host without brackets.
  /// - Throws: `NBDSecureError` with `.usage`, naming `option`.
  static func checked(_ text: String, option: String) throws(NBDSecureError) -> String {
    guard !text.isEmpty else {
      throw usage(
        "\(option): must not be empty", hint: "give the name that the certificate carries")
    }
    try refusePort(text, option: option)
    let host = withoutBrackets(text)
    guard isName(host) || SocketAddress(numeric: host, port: 0) != nil else {
      let isInternational = !host.utf8.allSatisfy { $0 < 0x80 }
      throw usage(
        "\(option) \(Printable.quoted(text)): not a host name or an address",
        hint: isInternational
          ? "write an international name as it stands in DNS: xn--..." : nil)
    }
    return host
  }

  /// An IPv6 literal is often written in brackets.
  private static func withoutBrackets(_ host: String) -> String {
    host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
  }

  /// A port behind a host has an option of its own.
  private static func refusePort(_ text: String, option: String) throws(NBDSecureError) {
    guard let colon = text.lastIndex(of: ":"), !text.hasSuffix("]"),
      text.hasPrefix("[") || text.utf8.filter({ $0 == UInt8(ascii: ":") }).count == 1
    else { return }
    let (host, port) = (text[..<colon], text[text.index(after: colon)...])
    guard !port.isEmpty, port.utf8.allSatisfy({ (48...57).contains($0) }) else { return }
    throw usage(
      "\(option) \(Printable.quoted(text)): a host without a port is due",
      hint: option == "--tls-hostname" ? nil : "\(option) \(host) --port \(port)")
  }

  private static func isName(_ host: String) -> Bool {
    var labels = host.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    if labels.count > 1, labels.last?.isEmpty == true { labels.removeLast() }
    return host.utf8.count <= longest + 1
      && labels.allSatisfy { label in
        (1...longestLabel).contains(label.count) && label.allSatisfy(isAllowed)
      }
  }

  private static func isAllowed(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
      true
    default: false
    }
  }
}
