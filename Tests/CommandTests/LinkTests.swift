// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Whatever the documentation points at is there: in the repository, and in the package.
@Suite struct LinkTests {
  static let pages =
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"] + files("docs", ending: ".md")
  static let manuals = files("docs/man", ending: "")

  private static func files(_ directory: String, ending: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "\(repository)/\(directory)")) ?? [])
      .filter { $0.hasSuffix(ending) && $0.contains(".") }.sorted().map { "\(directory)/\($0)" }
  }

  private func text(_ path: String) throws -> String {
    try String(contentsOfFile: "\(repository)/\(path)", encoding: .utf8)
  }

  private func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: "\(repository)/\(path)")
  }

  /// The anchors that GitHub gives a page's headings.
  private func anchors(_ page: String) throws -> Set<String> {
    let headings = try text(page).matches(of: /(?m)^#+ (.+)$/)
    return Set(
      headings.map { heading in
        String(
          heading.1.lowercased().filter { $0.isLetter || $0.isNumber || " -_".contains($0) }
            .map { $0 == " " ? "-" : $0 })
      })
  }

  @Test func thereIsSomethingToLookAt() throws {
    #expect(Self.pages.count > 8 && Self.manuals.count == 3)
    #expect(try Self.pages.flatMap(links).count > 20)
  }

  @Test(arguments: pages) func linksLeadSomewhere(_ page: String) throws {
    for link in try links(page) {
      let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
      let directory = page.split(separator: "/").dropLast().map { $0 + "/" }.joined()
      let target = parts[0].isEmpty ? page : directory + parts[0]
      #expect(exists(target), "\(page): \(link)")
      if parts.count > 1, exists(target) {
        #expect(try anchors(target).contains(String(parts[1])), "\(page): \(link)")
      }
    }
  }

  /// The targets of a page's links that are not on the net.
  private func links(_ page: String) throws -> [String] {
    try text(page).matches(of: /\]\(([^)\s]+)\)/).map { String($0.1) }
      .filter { !$0.contains("://") }
  }

  @Test(arguments: manuals) func manualsPointAtWhatIsThere(_ manual: String) throws {
    let text = try text(manual)
    for match in text.matches(of: /\.Xr (nbd-secure[a-z-]*) ([0-9])/) {
      #expect(exists("docs/man/\(match.1).\(match.2)"), "\(match.0)")
    }
    for match in text.matches(of: /\.Sx ([A-Z -]+[A-Z])/) {
      #expect(text.contains(".Sh \(match.1)\n"), "\(match.0)")
    }
    // Where the package has its documents.
    for match in text.matches(of: /\/usr\/share\/doc\/nbd-secure\/([A-Za-z0-9@.\/-]*)/) {
      let path = String(match.1)
      #expect(exists(path.hasPrefix("examples/") ? path : "docs/\(path)"), "\(match.0)")
    }
  }
}
