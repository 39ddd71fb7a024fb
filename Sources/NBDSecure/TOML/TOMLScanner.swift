// SPDX-License-Identifier: Apache-2.0

/// The bytes of a TOML file and the place reached in them.
struct TOMLScanner {
  private let bytes: [UInt8]
  private var index = 0
  /// From 1.
  private(set) var line = 1

  init(_ text: String) { bytes = Array(text.utf8) }

  var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

  func fail(_ reason: String) -> TOMLError { TOMLError(line: line, reason: reason) }

  func starts(with text: String) -> Bool {
    bytes[index...].starts(with: text.utf8)
  }

  /// What stands here, for messages.
  var here: String {
    guard let byte = peek else { return "the end of the file" }
    if byte == 0x0a || byte == 0x0d { return "the end of the line" }
    let character = String(decoding: bytes[index...].prefix(4), as: UTF8.self).first
    return character.map { $0.isASCII && byte < 0x20 ? "a control character" : "\"\($0)\"" } ?? ""
  }

  @discardableResult
  mutating func next() -> UInt8? {
    guard let byte = peek else { return nil }
    index += 1
    if byte == 0x0a { line += 1 }
    return byte
  }

  mutating func skip(_ text: String) -> Bool {
    guard starts(with: text) else { return false }
    for _ in 0..<text.utf8.count { next() }
    return true
  }

  mutating func take(while accepted: (UInt8) -> Bool) -> String {
    let start = index
    while let byte = peek, accepted(byte) { next() }
    return String(decoding: bytes[start..<index], as: UTF8.self)
  }

  mutating func skipBlanks() { _ = take { $0 == 0x20 || $0 == 0x09 } }

  /// Blanks, comments and line ends.
  mutating func skipLines() throws(TOMLError) {
    repeat { try skipComment() } while try skipLineEnd()
  }

  /// What may follow a value or a header on its line.
  mutating func endLine() throws(TOMLError) {
    try skipComment()
    guard try skipLineEnd() || peek == nil else {
      throw fail("expected the end of the line, not \(here)")
    }
  }

  private mutating func skipComment() throws(TOMLError) {
    skipBlanks()
    guard peek == UInt8(ascii: "#") else { return }
    while let byte = peek, byte != 0x0a, !starts(with: "\r\n") {
      guard Self.isText(byte) else { throw fail("a control character in a comment") }
      next()
    }
  }

  private mutating func skipLineEnd() throws(TOMLError) -> Bool {
    if peek == 0x0d, !starts(with: "\r\n") { throw fail("a carriage return alone") }
    return skip("\r\n") || skip("\n")
  }

  /// What may stand in a comment or string: no control character but the tab.
  static func isText(_ byte: UInt8) -> Bool { byte == 0x09 || (byte >= 0x20 && byte != 0x7f) }
}
