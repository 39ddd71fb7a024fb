// SPDX-License-Identifier: Apache-2.0

/// A URI cut at its delimiters (RFC 3986, section 3 and appendix B); nothing is decoded yet.
struct URIParts {
  let scheme: String
  /// Nil without "//".
  let authority: Substring?
  /// Empty, or from its first slash on.
  let path: Substring
  let query: Substring?

  init(_ text: String) throws(NBDURIError) {
    for scalar in text.unicodeScalars where !Self.isAllowed(scalar) {
      throw .character(String(scalar))
    }
    guard let colon = text.firstIndex(of: ":"), colon != text.startIndex else { throw .noScheme }
    scheme = String(text[..<colon])
    guard scheme.utf8.allSatisfy(Self.isSchemeCharacter) else { throw .noScheme }
    guard !text.contains("#") else { throw .fragment }

    var rest = text[text.index(after: colon)...]
    if let mark = rest.firstIndex(of: "?") {
      query = rest[rest.index(after: mark)...]
      rest = rest[..<mark]
    } else {
      query = nil
    }
    if rest.hasPrefix("//") {
      let afterSlashes = rest.dropFirst(2)
      let end = afterSlashes.firstIndex(of: "/") ?? afterSlashes.endIndex
      authority = afterSlashes[..<end]
      path = afterSlashes[end...]
    } else {
      authority = nil
      path = rest
      guard path.isEmpty || path.hasPrefix("/") else { throw .relativePath }
    }
  }

  /// Characters of RFC 3986, section 2, delimiters and "%" included.
  private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9": true
    case "-", ".", "_", "~", ":", "/", "?", "#", "[", "]", "@", "!", "$", "&", "'", "(", ")", "*",
      "+", ",", ";", "=", "%":
      true
    default: false
    }
  }

  private static func isSchemeCharacter(_ byte: UInt8) -> Bool {
    switch Unicode.Scalar(byte) {
    case "a"..."z", "A"..."Z", "0"..."9", "+", "-", ".": true
    default: false
    }
  }
}

/// userinfo, host and port (RFC 3986, section 3.2), decoded.
struct URIAuthority {
  let user: String?
  /// Without brackets; may be empty.
  let host: String
  /// As written; nil where it is absent or empty, which means the default.
  let port: String?

  init(_ text: Substring) throws(NBDURIError) {
    var rest = text
    if let at = rest.lastIndex(of: "@") {
      let userinfo = rest[..<at]
      guard !userinfo.isEmpty else { throw .emptyUser }
      guard !userinfo.contains(":") else { throw .password }
      user = try PercentEncoding.decode(userinfo, in: "the user")
      rest = rest[rest.index(after: at)...]
    } else {
      user = nil
    }

    let afterHost: Substring
    if rest.hasPrefix("[") {
      guard let close = rest.firstIndex(of: "]") else { throw .ipv6Brackets(String(rest)) }
      host = try Self.ipv6(rest[rest.index(after: rest.startIndex)..<close])
      afterHost = rest[rest.index(after: close)...]
      guard afterHost.isEmpty || afterHost.hasPrefix(":") else {
        throw .ipv6Brackets(String(rest))
      }
    } else {
      let colon = rest.firstIndex(of: ":") ?? rest.endIndex
      afterHost = rest[colon...]
      guard !afterHost.dropFirst().contains(":") else { throw .ipv6Brackets(String(rest)) }
      host = try PercentEncoding.decode(rest[..<colon], in: "the host")
      guard host.unicodeScalars.allSatisfy(Self.isHostCharacter) else { throw .host(host) }
    }
    let digits = afterHost.dropFirst()
    port = digits.isEmpty ? nil : String(digits)
  }

  func tcpPort() throws(NBDURIError) -> UInt16 {
    guard let port else { return NBDURI.defaultPort }
    guard let number = Self.number(port, UInt16.self), number > 0 else { throw .port(port) }
    return number
  }

  /// The all-ones CID and port mean "any" to the kernel.
  func vsockCID() throws(NBDURIError) -> UInt32 {
    guard let cid = Self.number(host, UInt32.self), cid != .max else { throw .vsockCID(host) }
    return cid
  }

  func vsockPort() throws(NBDURIError) -> UInt32 {
    guard let port else { return UInt32(NBDURI.defaultPort) }
    guard let number = Self.number(port, UInt32.self), number > 0, number != .max else {
      throw .vsockPort(port)
    }
    return number
  }

  /// Digits only: Swift's initialiser would take a sign as well.
  private static func number<T: FixedWidthInteger>(_ text: String, _: T.Type) -> T? {
    text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? T(text) : nil
  }

  /// The address between the brackets; a zone, written "%25eth0", gets its plain "%".
  private static func ipv6(_ text: Substring) throws(NBDURIError) -> String {
    let decoded = try PercentEncoding.decode(text, in: "the host")
    let halves = decoded.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
    let address = halves[0]
    let looksRight =
      address.contains(":") && address.utf8.count <= 45
      && address.allSatisfy { $0.isASCII && ($0.isHexDigit || $0 == ":" || $0 == ".") }
    let zoneLooksRight =
      halves.count == 1
      || (!halves[1].isEmpty && halves[1].unicodeScalars.allSatisfy(isHostCharacter))
    guard looksRight && zoneLooksRight else { throw .ipv6Brackets(decoded) }
    return decoded
  }

  /// Names and IPv4 addresses, international names included; nothing that could be mistaken for
  /// something else further on.
  private static func isHostCharacter(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "-", ".", "_": true
    default: scalar.value >= 0x80 && scalar.properties.isAlphabetic
    }
  }
}
