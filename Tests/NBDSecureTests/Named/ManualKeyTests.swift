// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import NBDSecure

/// The manuals of the files list the keys that are read, no more and no fewer.
@Suite("Manuals: keys")
struct ManualKeyTests {
  private func items(_ name: String) throws -> [String] {
    let text = try String(contentsOfFile: "\(repository)/docs/man/\(name)", encoding: .utf8)
    return text.matches(of: /\.It Li ([a-z-]+)( Pq [^\n]*)?\n/).map { String($0.1) }
  }

  @Test func attachments() throws {
    #expect(try items("nbd-secure-attachment.5").sorted() == AttachmentSettings.keys.sorted())
  }

  @Test func policy() throws {
    let keys = PolicyKey.allCases.map(\.rawValue) + PolicyRule.matchKeys + ["default"]
    #expect(try items("nbd-secure-policy.5").sorted() == keys.sorted())
  }
}
