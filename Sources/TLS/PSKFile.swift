// SPDX-License-Identifier: Apache-2.0

/// The name that goes with a pre-shared key.
package struct PSKIdentity: Hashable, Sendable {
  /// What goes over the wire.
  package let bytes: [UInt8]
  /// As the file has it: the name itself, or `#` and the bytes in hexadecimal.
  package let text: String

  /// The longest that is accepted, in bytes.
  package static let longest = 1024

  /// From the part of a line before the colon. Nil when it is empty, too long, not UTF-8, has white
  /// space or control characters, or begins with `#` and is not hexadecimal after it.
  package init?(_ written: some Collection<UInt8>) {
    let written = Array(written)
    guard !written.isEmpty, written.count <= 2 * PSKIdentity.longest + 1,
      let text = String(validating: written, as: UTF8.self),
      !text.unicodeScalars.contains(where: PSKIdentity.isForbidden)
    else { return nil }
    if written[0] == UInt8(ascii: "#") {
      guard let decoded = Hexadecimal.decode(written.dropFirst()) else { return nil }
      bytes = decoded
    } else {
      bytes = written
    }
    guard !bytes.isEmpty, bytes.count <= PSKIdentity.longest else { return nil }
    self.text = text
  }

  private static func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || scalar.value < 0x20 || scalar.value == 0x7f
  }
}

/// The lines of a file of pre-shared keys, `identity:hexadecimal`. Keys stay where they are: an entry
/// only says where, so that no copy has to be wiped.
package struct PSKFile: Sendable {
  package struct Entry: Hashable, Sendable {
    package let identity: PSKIdentity
    /// Where in the bytes the key's digits stand: an even number, more than none, all valid.
    package let digits: Range<Int>
  }

  /// What is wrong with a line.
  package struct Failure: Error, Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
      case noColon, badIdentity, emptyKey, badKey
      case duplicate(firstLine: Int)
      case tooManyLines
    }
    package let kind: Kind
    /// Counted from 1.
    package let line: Int
  }

  /// Identities in one file.
  package static let mostEntries = 10_000

  package let entries: [Entry]

  /// Parses a whole file. Empty lines are passed over; there are no comments, because `#` begins a
  /// name.
  package init(parsing bytes: [UInt8]) throws(Failure) {
    var entries: [Entry] = []
    var seen: [[UInt8]: Int] = [:]
    var line = 0
    var start = bytes.startIndex
    while start < bytes.endIndex {
      line += 1
      let newline = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.endIndex
      var end = newline
      if end > start, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
      if end > start {
        guard entries.count < PSKFile.mostEntries else {
          throw Failure(kind: .tooManyLines, line: line)
        }
        let entry = try PSKFile.entry(bytes, start..<end, line)
        if let first = seen.updateValue(line, forKey: entry.identity.bytes) {
          throw Failure(kind: .duplicate(firstLine: first), line: line)
        }
        entries.append(entry)
      }
      start = newline < bytes.endIndex ? newline + 1 : bytes.endIndex
    }
    self.entries = entries
  }

  private static func entry(
    _ bytes: [UInt8], _ range: Range<Int>, _ line: Int
  ) throws(Failure) -> Entry {
    guard let colon = bytes[range].firstIndex(of: UInt8(ascii: ":")) else {
      throw Failure(kind: .noColon, line: line)
    }
    guard let identity = PSKIdentity(bytes[range.lowerBound..<colon]) else {
      throw Failure(kind: .badIdentity, line: line)
    }
    let digits = (colon + 1)..<range.upperBound
    guard !digits.isEmpty else { throw Failure(kind: .emptyKey, line: line) }
    guard digits.count.isMultiple(of: 2), bytes[digits].allSatisfy(Hexadecimal.isDigit) else {
      throw Failure(kind: .badKey, line: line)
    }
    return Entry(identity: identity, digits: digits)
  }
}
