// SPDX-License-Identifier: Apache-2.0

extension TOMLScanner {
  /// A string of any of the four kinds (TOML 1.0.0, section String); nil if none stands here.
  mutating func string(multiline: Bool = true) throws(TOMLError) -> String? {
    if starts(with: "\"\"\"") || starts(with: "'''") {
      guard multiline else { throw fail("a key cannot have several lines") }
      return try longString(literal: peek == UInt8(ascii: "'"))
    }
    if skip("'") { return try shortString(end: UInt8(ascii: "'"), literal: true) }
    if skip("\"") { return try shortString(end: UInt8(ascii: "\""), literal: false) }
    return nil
  }

  private mutating func shortString(
    end: UInt8, literal: Bool
  ) throws(TOMLError) -> String {
    var bytes: [UInt8] = []
    while let byte = peek, byte != 0x0a, byte != 0x0d {
      if byte == end {
        next()
        return String(decoding: bytes, as: UTF8.self)
      }
      if !literal, byte == UInt8(ascii: "\\") {
        bytes += try escape()
      } else {
        guard Self.isText(byte) else { throw fail("a control character in a string") }
        bytes.append(byte)
        next()
      }
    }
    throw fail("a string does not end on its line")
  }

  private mutating func longString(literal: Bool) throws(TOMLError) -> String {
    let quote = UInt8(ascii: literal ? "'" : "\"")
    for _ in 0..<3 { next() }
    // A line end right after the quotes is not part of the string.
    if !skip("\r\n") { _ = skip("\n") }
    var bytes: [UInt8] = []
    while let byte = peek {
      if byte == quote {
        let run = take { $0 == quote }.utf8.count
        // Up to two quotes may stand before the three that end it.
        guard run <= 5 else { throw fail("too many quotes in a row") }
        bytes += [UInt8](repeating: quote, count: run >= 3 ? run - 3 : run)
        if run >= 3 { return String(decoding: bytes, as: UTF8.self) }
      } else if !literal, byte == UInt8(ascii: "\\") {
        if try !skipFoldedLine() { bytes += try escape() }
      } else if skip("\r\n") || skip("\n") {
        bytes.append(0x0a)
      } else {
        guard Self.isText(byte) else { throw fail("a control character in a string") }
        bytes.append(byte)
        next()
      }
    }
    throw fail("a string does not end")
  }

  /// A backslash at the end of a line takes away all white space up to the next text.
  private mutating func skipFoldedLine() throws(TOMLError) -> Bool {
    var ahead = self
    ahead.next()
    ahead.skipBlanks()
    guard ahead.starts(with: "\n") || ahead.starts(with: "\r\n") else { return false }
    _ = ahead.take { [0x20, 0x09, 0x0a, 0x0d].contains($0) }
    self = ahead
    return true
  }

  private mutating func escape() throws(TOMLError) -> [UInt8] {
    next()
    switch next() {
    case UInt8(ascii: "b"): return [0x08]
    case UInt8(ascii: "t"): return [0x09]
    case UInt8(ascii: "n"): return [0x0a]
    case UInt8(ascii: "f"): return [0x0c]
    case UInt8(ascii: "r"): return [0x0d]
    case UInt8(ascii: "\""): return [0x22]
    case UInt8(ascii: "\\"): return [0x5c]
    case UInt8(ascii: "u"): return try scalar(digits: 4)
    case UInt8(ascii: "U"): return try scalar(digits: 8)
    default: throw fail("an unknown escape in a string")
    }
  }

  private mutating func scalar(digits: Int) throws(TOMLError) -> [UInt8] {
    var value: UInt32 = 0
    for _ in 0..<digits {
      guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw fail("an escape in a string is cut short")
      }
      value = value << 4 | UInt32(digit)
      next()
    }
    // NUL is valid TOML, and means nothing in a path, a name or a pattern.
    guard value != 0, let scalar = Unicode.Scalar(value) else {
      throw fail("an escape in a string is no character")
    }
    return Array(String(Character(scalar)).utf8)
  }
}
