// SPDX-License-Identifier: Apache-2.0

/// A parser for TOML 1.0.0 in memory-safe code, with the line of every value. Times, dates and
/// floating-point numbers are recognised and not evaluated.
///
/// Our own because the C++ wrapper at hand frees nothing it parses, while a supervisor reads its
/// policy at every reconnection with locked memory, and because it keeps no lines.
struct TOMLParser {
  /// Arrays and tables in one another; bounds the stack.
  static let maximumDepth = 32

  private var scanner: TOMLScanner
  private let root = TOMLTree(.header, line: 1)

  /// The tables of a whole file.
  static func parse(_ text: String) throws(TOMLError) -> [String: TOMLValue] {
    var parser = TOMLParser(scanner: TOMLScanner(text))
    try parser.parseFile()
    guard case .table(let entries) = parser.root.value.kind else { return [:] }
    return entries
  }

  private init(scanner: TOMLScanner) { self.scanner = scanner }

  private mutating func parseFile() throws(TOMLError) {
    _ = scanner.skip("\u{feff}")
    var table = root
    while true {
      try scanner.skipLines()
      guard let byte = scanner.peek else { return }
      if byte == UInt8(ascii: "[") {
        table = try header()
      } else {
        try assignment(in: table, depth: 0)
      }
      try scanner.endLine()
    }
  }

  private mutating func header() throws(TOMLError) -> TOMLTree {
    let isElement = scanner.skip("[[")
    if !isElement { _ = scanner.skip("[") }
    let keys = try dottedKey()
    let closed = isElement ? scanner.skip("]]") : scanner.skip("]")
    guard closed else {
      throw scanner.fail("expected \(isElement ? "]]" : "]"), not \(scanner.here)")
    }
    return try root.open(keys, isElement: isElement, line: scanner.line)
  }

  private mutating func assignment(in table: TOMLTree, depth: Int) throws(TOMLError) {
    let keys = try dottedKey()
    guard scanner.skip("=") else { throw scanner.fail("expected =, not \(scanner.here)") }
    scanner.skipBlanks()
    try table.set(keys, to: try value(depth: depth))
  }

  /// `a."b".c` with the blanks around it.
  private mutating func dottedKey() throws(TOMLError) -> [String] {
    var keys: [String] = []
    repeat {
      scanner.skipBlanks()
      if let quoted = try scanner.string(multiline: false) {
        keys.append(quoted)
      } else {
        let bare = scanner.take(while: Self.isBare)
        guard !bare.isEmpty else { throw scanner.fail("expected a key, not \(scanner.here)") }
        keys.append(bare)
      }
      scanner.skipBlanks()
      guard keys.count <= Self.maximumDepth else { throw scanner.fail("a key of too many parts") }
    } while scanner.skip(".")
    return keys
  }

  private mutating func value(depth: Int) throws(TOMLError) -> TOMLValue {
    guard depth < Self.maximumDepth else { throw scanner.fail("nested too deeply") }
    let line = scanner.line
    if let string = try scanner.string() { return TOMLValue(kind: .string(string), line: line) }
    if scanner.skip("[") {
      return TOMLValue(kind: .array(try elements(depth: depth + 1)), line: line)
    }
    if scanner.skip("{") { return try inlineTable(depth: depth + 1) }
    let word = scanner.take { Self.isBare($0) || "+.:".utf8.contains($0) }
    guard let kind = Self.scalar(word) else {
      // Which one is not said: what stands here may be anything, secrets included.
      throw scanner.fail(
        word.isEmpty ? "expected a value, not \(scanner.here)" : "expected a value, not a word")
    }
    return TOMLValue(kind: kind, line: line)
  }

  private mutating func elements(depth: Int) throws(TOMLError) -> [TOMLValue] {
    var elements: [TOMLValue] = []
    while true {
      try scanner.skipLines()
      if scanner.skip("]") { return elements }
      elements.append(try value(depth: depth))
      try scanner.skipLines()
      guard scanner.skip(",") || scanner.peek == UInt8(ascii: "]") else {
        throw scanner.fail("expected , or ] in an array, not \(scanner.here)")
      }
    }
  }

  private mutating func inlineTable(depth: Int) throws(TOMLError) -> TOMLValue {
    let table = TOMLTree(.header, line: scanner.line)
    scanner.skipBlanks()
    if scanner.skip("}") { return table.value }
    repeat {
      try assignment(in: table, depth: depth)
      scanner.skipBlanks()
    } while scanner.skip(",")
    guard scanner.skip("}") else {
      throw scanner.fail("expected , or } in a table, not \(scanner.here)")
    }
    return table.value
  }

  private static func isBare(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }
}
