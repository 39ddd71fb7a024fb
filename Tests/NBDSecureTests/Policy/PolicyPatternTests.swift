// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import NBDSecure

@Suite("Policy: patterns")
struct PolicyPatternTests {
  @Test(arguments: [
    ("", "", true), ("", "a", false), ("*", "", true), ("*", "a/b", true), ("a*c", "abbc", true),
    ("a*c", "abbd", false), ("?", "é", true), ("?", "", false), ("a?c", "abc", true),
    ("*a*b*", "xxaxxb", true), ("*a*b*", "xxbxxa", false), ("[a]", "a", false),
    ("[a]", "[a]", true),
    // The same letter in two spellings is two names to a server.
    ("\u{e9}", "e\u{301}", false),
  ]) func glob(pattern: String, subject: String, matches: Bool) {
    #expect(PolicyGlob(pattern).matches(subject) == matches)
  }

  @Test(arguments: [
    ("/run/*", "/run/a", true), ("/run/*", "/run/a/b", false), ("/run/**", "/run/a/b", true),
    ("/run/*/c", "/run/a/c", true), ("/run/**/c", "/run/a/b/c", true),
    ("/run/***", "/run/a/b", true), ("/run?a", "/run/a", false), ("/run/?", "/run/a", true),
  ]) func path(pattern: String, subject: String, matches: Bool) {
    #expect(PolicyGlob(pattern, path: true).matches(subject) == matches)
  }

  @Test func `long patterns end in time`() {
    let pattern = PolicyGlob(String(repeating: "*a", count: PolicyGlob.maximumLength / 2))
    let work = processorTime {
      #expect(!pattern.matches(String(repeating: "a", count: 400) + "b"))
    }
    // Backtracking over every star would not end at all.
    #expect(work < 10)
  }

  /// The parser of the C library is the judge.
  @Test func addresses() {
    var texts = [
      "1.2.3.4", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4",
      "1..2.3",
      "", ".", ":", "::", ":::", "::1", "1::", "1:", ":1", "1:2:", ":1:2", "1::2::3", "::1.2.3.4",
      "64:ff9b::1.2.3.4", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:1.2.3.4",
      "1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "12345::", "g::", "fe80::1",
      "1.2.3.4::", "::1.2.3", "::1.2.3.4:5", " 1.2.3.4", "1.2.3.4 ", "+1.2.3.4", "::+1",
      "0x1.2.3.4",
      "2001:DB8::a:B", "1:2:1.2.3.4", "1::2:1.2.3.4", "::ffff:0:1.2.3.4",
    ]
    var random = PolicyRandom(seed: 7)
    for _ in 0..<20_000 {
      let length = Int.random(in: 1...12, using: &random)
      texts.append(
        String((0..<length).map { _ in "0127af:::..".randomElement(using: &random) ?? ":" }))
    }
    for text in texts {
      var four = in_addr()
      var six = in6_addr()
      let valid = inet_pton(AF_INET, text, &four) == 1 || inet_pton(AF_INET6, text, &six) == 1
      #expect((PolicyAddress(text) != nil) == valid, "\(text)")
      guard inet_pton(AF_INET6, text, &six) == 1, let address = PolicyAddress(text) else {
        continue
      }
      let bytes = withUnsafeBytes(of: &six) { Array($0) }
      if address.bytes.count == 16 { #expect(address.bytes == bytes, "\(text)") }
    }
    #expect(PolicyAddress("[::1]")?.isLoopback == true)
    #expect(PolicyAddress("fe80::1%eth0") == PolicyAddress("fe80::1"))
    #expect(PolicyAddress("::ffff:127.9.9.9")?.isLoopback == true)
    #expect(PolicyAddress("::2")?.isLoopback == false)
    #expect(PolicyAddress("128.0.0.1")?.isLoopback == false)
  }

  @Test(arguments: [
    ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.0", false),
    ("0.0.0.0/0", "1.2.3.4", true), ("0.0.0.0/0", "::1", false), ("::/0", "::1", true),
    ("10.1.2.3", "10.1.2.3", true), ("10.1.2.3", "10.1.2.4", false),
    ("10.0.0.128/25", "10.0.0.200", true), ("10.0.0.128/25", "10.0.0.100", false),
    ("2001:db8::/33", "2001:db8:7fff::1", true), ("2001:db8::/33", "2001:db8:8000::1", false),
  ]) func block(block: String, address: String, inside: Bool) throws {
    let parsed = try #require(PolicyAddressBlock(block))
    #expect(parsed.contains(try #require(PolicyAddress(address))) == inside)
  }

  @Test(arguments: [
    "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "/8", "x", "",
  ])
  func badBlock(text: String) {
    #expect(PolicyAddressBlock(text) == nil)
  }

  @Test func pins() {
    let digits = String(repeating: "0aF", count: 21) + "9"
    #expect(PolicyPin("sha256:" + digits)?.hex == digits.lowercased())
    #expect(PolicyPin(digits)?.description == "sha256:" + digits.lowercased())
    #expect(PolicyPin("sha256:" + digits.dropLast()) == nil)
    #expect(PolicyPin("sha1:" + digits) == nil)
    #expect(PolicyPin("sha256:" + digits.dropLast() + "g") == nil)
  }
}
