// SPDX-License-Identifier: Apache-2.0

/// A pattern with wildcards: `*` any run of characters, `?` one character. In paths these two stop
/// at a slash and `**` does not. There are no other special characters. Compared scalar by scalar,
/// so that canonically equivalent strings stay different, as they are for the server.
struct PolicyGlob: Hashable, Sendable {
  /// A longer pattern is a mistake; it also bounds the time of a match.
  static let maximumLength = 1024

  private enum Token: Hashable, Sendable {
    case scalar(Unicode.Scalar)
    case one(crossingSlash: Bool)
    case run(crossingSlash: Bool)
  }

  /// The pattern as written.
  let text: String
  private let tokens: [Token]

  init(_ text: String, path: Bool = false) {
    self.text = text
    var tokens: [Token] = []
    for scalar in text.unicodeScalars {
      switch scalar {
      case "*" where tokens.last == .run(crossingSlash: false):
        tokens[tokens.count - 1] = .run(crossingSlash: true)
      case "*" where tokens.last == .run(crossingSlash: true): continue
      case "*": tokens.append(.run(crossingSlash: !path))
      case "?": tokens.append(.one(crossingSlash: !path))
      default: tokens.append(.scalar(scalar))
      }
    }
    self.tokens = tokens
  }

  /// Whether this pattern matches whatever it is given.
  var matchesEverything: Bool { tokens == [.run(crossingSlash: true)] }

  func matches(_ subject: String) -> Bool {
    let scalars = Array(subject.unicodeScalars)
    // reached[i]: the tokens so far can consume exactly the first i scalars.
    var reached = [Bool](repeating: false, count: scalars.count + 1)
    reached[0] = true
    for token in tokens {
      var next = [Bool](repeating: false, count: scalars.count + 1)
      if case .run = token { next[0] = reached[0] }
      for (index, scalar) in scalars.enumerated() {
        switch token {
        case .scalar(let wanted): next[index + 1] = reached[index] && scalar == wanted
        case .one(let crossing):
          next[index + 1] = reached[index] && (crossing || scalar != "/")
        case .run(let crossing):
          next[index + 1] = reached[index + 1] || (next[index] && (crossing || scalar != "/"))
        }
      }
      reached = next
    }
    return reached[scalars.count]
  }
}

/// A pattern for the paths of sockets: as written, and with the symbolic links of its literal part
/// resolved as they were when the file was read.
struct PolicySocketPattern: Hashable, Sendable {
  let written: PolicyGlob
  private let resolved: PolicyGlob

  var text: String { written.text }

  /// Nil for what no socket can have.
  init?(_ text: String, canonical: (String) -> String) {
    guard let first = text.first, "/@*".contains(first) else { return nil }
    written = PolicyGlob(text, path: true)
    resolved = PolicyGlob(Self.resolve(text, canonical), path: true)
  }

  /// Whether it means this path, by whichever of its names. A rule that allows goes by what is
  /// written alone: who can move a link must not move what is allowed.
  func mayMean(_ path: String) -> Bool { written.matches(path) || resolved.matches(path) }

  private static func resolve(_ text: String, _ canonical: (String) -> String) -> String {
    guard text.hasPrefix("/") else { return text }
    let literal = text.prefix { $0 != "*" && $0 != "?" }
    // The last component up to a wildcard is not a whole one; without any, the socket itself may be
    // a link.
    let slash = literal.lastIndex(of: "/") ?? literal.startIndex
    let directory = canonical(String(text[..<slash]) + "/")
    let path =
      (directory.hasSuffix("/") ? directory : directory + "/")
      + text[text.index(after: slash)...]
    return literal.endIndex == text.endIndex ? canonical(path) : path
  }
}

/// A pattern for host names: a glob over the lower-case name, or an IP literal.
struct PolicyHostPattern: Hashable, Sendable {
  let text: String
  private let address: PolicyAddress?
  private let glob: PolicyGlob

  init?(_ text: String) {
    // Certificates carry A-labels (RFC 5280, section 7.2): a U-label here would never match.
    guard !text.isEmpty, text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else { return nil }
    self.text = text
    address = PolicyAddress(text)
    glob = PolicyGlob(PolicyHostPattern.plain(text))
  }

  func matches(_ name: String) -> Bool {
    if let address { return PolicyAddress(name) == address }
    return glob.matches(PolicyHostPattern.plain(name))
  }

  /// Whether the pattern is an IP literal, and this address is it.
  func isAddress(_ other: PolicyAddress) -> Bool { address == other }

  /// Whether two names, or two ways to write an address, mean the same.
  static func isSame(_ left: String?, _ right: String?) -> Bool {
    guard let left, let right else { return left == nil && right == nil }
    if let address = PolicyAddress(left) { return PolicyAddress(right) == address }
    return plain(left) == plain(right)
  }

  /// ASCII in lower case, without brackets and the trailing dot of a rooted name. Other letters
  /// stay: some of them (U+212A) would turn into ASCII ones.
  static func plain(_ name: String) -> String {
    let lower = name.unicodeScalars.map { scalar in
      ("A"..."Z").contains(scalar) ? Unicode.Scalar(UInt8(scalar.value) | 0x20) : scalar
    }
    var plain = String(String.UnicodeScalarView(lower))[...]
    if plain.hasPrefix("["), plain.hasSuffix("]") { plain = plain.dropFirst().dropLast() }
    if plain.count > 1, plain.hasSuffix(".") { plain = plain.dropLast() }
    return String(plain)
  }
}

/// A virtual machine's context id, or any.
enum PolicyVsockPattern: Hashable, Sendable {
  case any
  case cid(UInt32)

  func matches(_ cid: UInt32) -> Bool {
    switch self {
    case .any: true
    case .cid(let wanted): wanted == cid
    }
  }

  var text: String {
    switch self {
    case .any: "*"
    case .cid(let cid): "\(cid)"
    }
  }
}
