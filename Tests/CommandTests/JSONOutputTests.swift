// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// What a server says cannot act on a terminal through `--json`, and is whole for a parser.
@Suite struct JSONOutputTests {
  @Test(arguments: ["list", "info"]) func foreignTextIsEscaped(_ verb: String) throws {
    let description = "a\u{9b}2J\u{202e}txt\u{7f}\u{2028}\u{e0001} ü"
    let server = try Server(
      ServerConfiguration(.qemuNBD, exportDescription: description, size: 1 << 20))
    let seen = try nbdSecure(
      [verb, "--json", "--tls-creds", try PKI.shared.get().trustOnly] + server.address)
    #expect(seen.status == 0, "\(seen)")
    for scalar in seen.stdout.unicodeScalars where scalar != "\n" && scalar != "ü" {
      #expect((0x20..<0x7f).contains(scalar.value), "U+\(String(scalar.value, radix: 16))")
    }
    #expect(seen.stdout.contains(#"a\u009b2J\u202etxt\u007f\u2028\udb40\udc01 ü"#), "\(seen)")
    let value = try JSONSerialization.jsonObject(with: Data(seen.stdout.utf8))
    #expect("\(value)".isEmpty == false)
    let found: Any? =
      verb == "list"
      ? (value as? [[String: Any]])?.first?["description"]
      : (value as? [String: Any])?["description"]
    #expect(found as? String == description)
  }
}
