// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport

/// The verbs and their options as docs/cli.md has them: from the tables' first columns and from the
/// paragraph of common options, never from running text.
struct DocumentedCommandLine {
  private(set) var options: [String: Set<String>] = [:]

  init() throws {
    let text = try String(contentsOfFile: repository + "/docs/cli.md", encoding: .utf8)
    var heading = ""
    var common: Set<String> = []
    for line in text.split(separator: "\n") {
      if line.hasPrefix("## ") {
        heading = String(line.dropFirst(3))
      } else if heading == "Verbs", line.hasPrefix("| `nbd-secure ") {
        let cell = Self.firstCell(line)
        options[Self.verb(cell), default: []].formUnion(Self.options(cell))
      } else if heading == "Common options" {
        common.formUnion(Self.options(String(line)))
      } else if heading.hasPrefix("Options "), line.hasPrefix("| `") {
        for verb in Self.verbs(heading) {
          options[verb, default: []].formUnion(Self.options(Self.firstCell(line)))
        }
      }
    }
    for verb in options.keys { options[verb]?.formUnion(common) }
  }

  /// A table's cell may have escaped bars.
  private static func firstCell(_ line: Substring) -> String {
    line.replacing("\\|", with: "\u{0}").split(separator: "|").first.map {
      String($0).replacing("\u{0}", with: "|")
    } ?? ""
  }

  private static func verb(_ cell: String) -> String {
    cell.split { " `[]".contains($0) }.dropFirst().first.map(String.init) ?? ""
  }

  /// "Options for reaching a server (attach, list)", "Options of attach".
  private static func verbs(_ heading: String) -> [String] {
    if let open = heading.firstIndex(of: "("), let close = heading.lastIndex(of: ")") {
      return heading[heading.index(after: open)..<close].split { ", ".contains($0) }.map(
        String.init)
    }
    return heading.split(separator: " ").last.map { [String($0)] } ?? []
  }

  static func options(_ text: String) -> Set<String> {
    let words = text.split { !($0.isLetter || $0.isNumber || $0 == "-") }.map(String.init)
    return Set(words.filter { $0.wholeMatch(of: /--[a-z][a-z0-9-]*|-[a-z]/) != nil })
  }
}

/// The same from the program's own help.
struct HelpText {
  let text: String

  init(_ verb: String?) throws {
    let seen = try nbdSecure(
      (verb.map { $0.split(separator: " ").map(String.init) } ?? []) + ["--help"])
    guard seen.status == 0, seen.stderr.isEmpty else {
      throw SystemError("--help", because: seen.description)
    }
    text = seen.stdout
  }

  /// Every option that a line of the lists begins with.
  var options: Set<String> {
    var found: Set<String> = []
    for line in text.split(separator: "\n") where line.hasPrefix("  -") {
      let names = line.dropFirst(2).prefix { $0 != "<" }.components(separatedBy: "  ")[0]
      found.formUnion(DocumentedCommandLine.options(names))
    }
    return found
  }

  /// The verbs under SUBCOMMANDS.
  var verbs: Set<String> {
    guard let start = text.range(of: "SUBCOMMANDS:\n") else { return [] }
    var found: Set<String> = []
    for line in text[start.upperBound...].split(separator: "\n", omittingEmptySubsequences: false) {
      guard line.hasPrefix("  ") else { break }
      if !line.hasPrefix("   "), let word = line.split(separator: " ").first {
        found.insert(String(word))
      }
    }
    return found
  }
}
