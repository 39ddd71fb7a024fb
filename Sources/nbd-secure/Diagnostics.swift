// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import LinuxIO
import NBDSecure
import Synchronization

// How the program talks to people: results on standard output, all else on standard error; one
// line for what failed and why, and one that says what to do, where that helps.

/// Everything that is printed goes through here.
enum Diagnostics {
  private static let outputIsLost = Atomic<Bool>(false)

  /// Fails where a part of the result could not be written.
  static func checkOutput() throws(NBDSecureError) {
    guard outputIsLost.load(ordering: .relaxed) else { return }
    throw NBDSecureError(
      .other, "standard output: cannot be written",
      hint: "what was asked for is done, but its result was not told")
  }

  /// A result of one line.
  static func print(_ line: String) { print([line]) }

  /// A whole result, in one write: a reader such as `grep -q` may leave after its first line, and
  /// what it did not wait for is not lost output.
  static func print(_ lines: [String]) {
    printText(lines.reduce(into: "") { $0 += $1 + "\n" })
  }

  /// A label and its value, aligned.
  static func row(_ label: String, _ value: String) -> String {
    oneLine(label + String(repeating: " ", count: max(20 - label.count, 1)) + value)
  }

  /// A result for machines.
  static func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(escaped(String(decoding: try encoder.encode(value), as: UTF8.self)))
  }

  /// JSON whose strings cannot act on a terminal either: the encoder leaves all but ASCII's control
  /// characters as they are. What a parser reads is the same.
  private static func escaped(_ json: String) -> String {
    var text = ""
    for scalar in json.unicodeScalars {
      if isVisible(scalar) || scalar == "\n" {
        text.unicodeScalars.append(scalar)
      } else {
        for unit in UTF16.encode(scalar).map(Array.init) ?? [] {
          let digits = String(unit, radix: 16)
          text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      }
    }
    return text
  }

  /// Lines that end themselves.
  static func printText(_ text: String) { write(text, to: 1) }

  /// A line for people.
  static func note(_ line: String) { write("nbd-secure: \(oneLine(line))\n", to: 2) }

  /// A step of the negotiation, for `-v`.
  static func trace(_ line: String) { write("\(oneLine(line))\n", to: 2) }

  static func report(_ error: NBDSecureError) {
    var text = "nbd-secure: \(oneLine(withoutSecrets(error.summary)))\n"
    if let hint = error.hint { text += "hint: \(oneLine(withoutSecrets(hint)))\n" }
    write(text, to: 2)
  }

  /// A server's text, or a file's name, cannot start a line of its own, move the cursor, or read as
  /// another text than it is (bidirectional overrides are format characters).
  static func oneLine(_ text: String) -> String {
    var line = ""
    for scalar in text.unicodeScalars {
      if isVisible(scalar) { line.unicodeScalars.append(scalar) } else { line += "?" }
    }
    return line
  }

  private static func isVisible(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
      .paragraphSeparator:
      false
    default: true
    }
  }

  private static func write(_ text: String, to descriptor: Int32) {
    do { try writeAll(descriptor, Array(text.utf8)) } catch {
      // Where standard error fails, nobody is left to be told.
      if descriptor == 1 { outputIsLost.store(true, ordering: .relaxed) }
    }
  }
}
