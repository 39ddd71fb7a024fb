// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

@Suite struct ExportNameTests {
  @Test func bounds() throws {
    #expect(try ExportName(String(repeating: "é", count: 2048)).string.utf8.count == 4096)
    #expect(throws: ExportNameError.tooLong(bytes: 4098)) {
      try ExportName(String(repeating: "é", count: 2049))
    }
    #expect(throws: ExportNameError.containsNUL) { try ExportName("a\u{0}b") }
    #expect(ExportNameError.tooLong(bytes: 5000).description.contains("4096"))
  }

  @Test func equalByBytes() {
    #expect(name("é") != name("e\u{301}"))
    #expect(name("é") == name("é"))
    #expect(Set([name("é"), name("e\u{301}"), name("é")]).count == 2)
    #expect(name("") == .defaultExport)
  }

  @Test func flagNames() {
    #expect(
      ExportFlags(rawValue: .max).names == [
        "read-only", "flush", "fua", "rotational", "trim", "write-zeroes", "df", "multi-conn",
        "resize", "cache", "fast-zero",
      ])
    #expect(ExportFlags.hasFlags.names.isEmpty)
  }
}
