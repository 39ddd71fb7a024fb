// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// docs/DEFAULTS.md names every limit of the sources, and none that is not there.
@Suite struct DefaultsTests {
  /// Numbers of formats and of interfaces: nobody chose them.
  private static let formats: Set<String> = [
    "Chunk", "Command", "GenericNetlinkFamily", "Handshake", "NBDMessage", "NetlinkBuilder",
    "NetlinkMessage", "ReplyType", "Request", "TCPConnection",
  ]
  private static let noLimits: Set<String> = [
    "CopyState.currentVersion", "DeviceParameters.readOnlyFlag", "Expiry.secondsPerDay",
    "InFlight.indexBits", "LatencyCounters.stride", "NetlinkSocket.diagnosis",
    "NetlinkSocket.generic", "PolicyBlock.secondsPerDay", "ProgressBar.width",
  ]

  @Test func everyLimitHasALine() throws {
    let page = try String(contentsOfFile: repository + "/docs/DEFAULTS.md", encoding: .utf8)
    let rows = page.split(separator: "\n").filter { $0.hasPrefix("| ") }
    let named = rows.flatMap { row in
      row.split(separator: "|").last?.matches(of: /`([A-Za-z.]+)`/).map { String($0.1) } ?? []
    }
    #expect(named.count == Set(named).count, "named twice")
    let declared = try Self.declared()
    #expect(declared.count > 80)
    #expect(declared.subtracting(named).sorted() == [], "without a line")
    #expect(Set(named).subtracting(declared).sorted() == [], "not in the sources")
  }

  /// Every constant of the sources that is a number, by its type's name and its own.
  private static func declared() throws -> Set<String> {
    let root = repository + "/Sources"
    let paths = try FileManager.default.subpathsOfDirectory(atPath: root).filter {
      $0.hasSuffix(".swift")
        && !formats.contains(
          URL(fileURLWithPath: $0).deletingPathExtension().lastPathComponent)
    }
    let found = try paths.flatMap { path in
      constants(in: try String(contentsOfFile: root + "/" + path, encoding: .utf8))
    }
    return Set(found).subtracting(noLimits)
  }

  private static func constants(in text: String) -> [String] {
    let access = "(?:(?:package|public|private|fileprivate|final) )*"
    guard
      let type = try? Regex(
        "^ *(?:@[a-z]+ )*\(access)(?:enum|struct|class|extension|actor) ([A-Z][A-Za-z.]*)",
        as: (Substring, Substring).self),
      let constant = try? Regex(
        "^ *\(access)(static let|let|var) ([A-Za-z]+)(?:: [A-Za-z0-9]+)? = -?[0-9][-0-9a-fxo_.<>*+ ]*$",
        as: (Substring, Substring, Substring).self)
    else { return [] }
    var found: [String] = []
    // The types around a line, by their indentation.
    var around: [(indentation: Int, name: String)] = []
    for line in text.split(separator: "\n") {
      let indentation = line.prefix { $0 == " " }.count
      around.removeAll { $0.indentation >= indentation && line.contains(/[A-Za-z]/) }
      if let match = try? type.firstMatch(in: line) {
        around.append((indentation, String(match.1)))
      } else if let match = try? constant.firstMatch(in: line) {
        let isLimit =
          switch match.1 {
          case "let": indentation == 0
          case "var": around.last?.name.hasSuffix("Limits") ?? false
          default: true
          }
        if isLimit { found.append((around.map(\.name) + [String(match.2)]).joined(separator: ".")) }
      }
    }
    return found
  }
}
