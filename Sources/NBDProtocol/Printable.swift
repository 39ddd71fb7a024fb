// SPDX-License-Identifier: Apache-2.0

/// Makes text of a peer fit to be shown on a terminal or in a log: one line, no control or
/// formatting characters, bounded.
package enum Printable {
  /// Longest text shown in a message, in characters; what is longer is cut, and ends in "…".
  package static let defaultLimit = 300

  /// `bytes` as UTF-8 text; what is not UTF-8 shows as U+FFFD.
  package static func text(_ bytes: [UInt8], limit: Int = defaultLimit) -> String {
    text(String(decoding: bytes, as: UTF8.self), limit: limit)
  }

  /// `string` with control, formatting and unassigned characters escaped, white space at the ends
  /// removed, and cut at `limit` scalars.
  package static func text(_ string: String, limit: Int = defaultLimit) -> String {
    var result = ""
    var count = 0
    var rest = string.unicodeScalars[...]
    while let last = rest.last, last.properties.isWhitespace { rest.removeLast() }
    while let first = rest.first, first.properties.isWhitespace { rest.removeFirst() }
    for scalar in rest {
      if count == limit { return result + "…" }
      count += 1
      append(scalar, to: &result)
    }
    return result
  }

  /// Text in double quotes, with quotes within escaped: for names.
  package static func quoted(_ string: String, limit: Int = defaultLimit) -> String {
    var result = "\""
    var count = 0
    for scalar in string.unicodeScalars {
      if count == limit { return result + "…\"" }
      count += 1
      if scalar == "\"" || scalar == "\\" { result += "\\" }
      append(scalar, to: &result)
    }
    return result + "\""
  }

  /// Bytes of no known encoding (a wrong magic): printable ASCII as it is, all else as \xNN.
  package static func ascii(_ bytes: [UInt8]) -> String {
    var result = ""
    for byte in bytes {
      if byte == UInt8(ascii: "\\") {
        result += "\\\\"
      } else if (0x20..<0x7f).contains(byte) {
        result.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        result += "\\x" + hex(byte, digits: 2)
      }
    }
    return result
  }

  /// `value` in lower-case hexadecimal, at least `digits` long, no prefix.
  static func hex(_ value: some UnsignedInteger, digits: Int = 1) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
  }

  private static func append(_ scalar: Unicode.Scalar, to result: inout String) {
    if scalar == " " || isVisible(scalar) {
      result.unicodeScalars.append(scalar)
    } else if scalar == "\n" || scalar == "\r" || scalar == "\t" {
      result += " "
    } else {
      result += "\\u{" + hex(scalar.value) + "}"
    }
  }

  private static func isVisible(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    // Format characters include the bidirectional overrides that make a text read as another.
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
      .paragraphSeparator, .spaceSeparator:
      false
    default: true
    }
  }
}
