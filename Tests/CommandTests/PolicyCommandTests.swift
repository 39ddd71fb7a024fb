// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// `policy show` and `policy explain`.
@Suite struct PolicyCommandTests {
  private let pki: PKI
  private let directory: TemporaryDirectory
  private let fleet: String

  init() throws {
    pki = try PKI.shared.get()
    directory = try TemporaryDirectory()
    fleet = try directory.write(
      "fleet.toml",
      """
      default = "deny"
      [require]
      tls-min-version = "1.3"
      authentication = ["x509"]
      [[rule]]
      name = "loopback"
      action = "allow"
      host = "localhost"
      address = ["127.0.0.0/8", "::1"]
      export = "disk-*"
      read-only = true
      """)
  }

  @Test func showPrintsEveryRule() throws {
    let text = try nbdSecure("policy", "show", "--policy", fleet)
    #expect(text.status == 0, "\(text)")
    for line in [
      fleet, "  default: deny", "  require: tls-min-version = 1.3", "  rule 1 \"loopback\": allow",
      "    if export = disk-*", "    require: read-only = true",
    ] {
      #expect(text.stdout.split(separator: "\n").contains { $0 == line }, "\(line) in \(text)")
    }
    let json = try nbdSecure("policy", "show", "--json", "--policy", fleet)
    let shown = try JSONDecoder().decode(Shown.self, from: Data(json.stdout.utf8))
    let file = try #require(shown.files.first { $0.file == fleet })
    #expect(file.defaultAction == "deny")
    #expect(file.rules.map(\.name) == ["loopback"])
  }

  @Test func explainNamesTheRuleThatAllows() throws {
    let seen = try explain("disk-1", "--tls-creds", pki.trustOnly)
    #expect(seen.status == 0, "\(seen)")
    #expect(seen.stdout.contains("allowed"))
    #expect(seen.stdout.contains("\(fleet): allows, by rule 1 \"loopback\""))
    #expect(seen.stdout.contains("require: read-only = true"))
    #expect(seen.stdout.contains("require: tls-min-version = 1.3"))
  }

  @Test func explainNamesWhatRefuses() throws {
    for (export, options, part) in [
      ("secret", ["--tls-creds", pki.trustOnly], "default"),
      ("disk-1", ["--tls-creds", pki.psk], "default"),
      ("disk-1", ["--tls-creds", pki.trustOnly, "--tls-hostname", "other.example"], "default"),
    ] {
      let seen = try explain(export, options)
      #expect(seen.status == 78, "\(seen)")
      #expect(seen.stdout.contains("\(fleet): refuses, by \(part)"), "\(seen)")
      #expect(seen.stderr.isEmpty)
    }
  }

  /// The same words from the explanation and from the connection that is refused.
  @Test func explainAgreesWithTheConnection() throws {
    for options in [
      ["--export", "secret"], ["--export", "disk-1", "--tls-hostname", "a.example"],
    ] {
      let arguments =
        ["--hostname", "localhost", "--port", "1", "--tls-creds", pki.trustOnly]
        + ["--policy", fleet] + options
      let explained = try nbdSecure(["policy", "explain", "--json"] + arguments)
      let refused = try nbdSecure(["info"] + arguments)
      #expect(explained.status == refused.status, "\(explained)\n\(refused)")
      let answer = try JSONDecoder().decode(Explained.self, from: Data(explained.stdout.utf8))
      #expect(!answer.allowed)
      #expect(refused.stderr.contains(try #require(answer.refusal).summary))
    }
  }

  @Test func explainSaysWhatItCouldNotAsk() throws {
    let unknown = String(repeating: "a", count: 60) + ".example"
    let seen = try nbdSecure(
      "policy", "explain", "--json", "--hostname", unknown, "--tls-creds",
      directory.file("missing"))
    let answer = try JSONDecoder().decode(Explained.self, from: Data(seen.stdout.utf8))
    #expect(answer.unknown.contains { $0.contains("missing") }, "\(seen)")
    #expect(answer.unknown.contains { $0.contains("aaaa") }, "\(seen)")
  }

  @Test func malformedFilesRefuseEverything() throws {
    let bad = try directory.write("bad.toml", "[require]\nno-such-key = 1\n")
    for verb in [["show"], ["explain", "--hostname", "localhost"]] {
      let seen = try nbdSecure(["policy"] + verb + ["--policy", bad])
      #expect(seen.deviations(status: 78, saying: [bad, "no-such-key"]) == [])
    }
  }

  private func explain(_ export: String, _ options: String...) throws -> Outcome {
    try explain(export, options)
  }

  private func explain(_ export: String, _ options: [String]) throws -> Outcome {
    try nbdSecure(
      ["policy", "explain", "nbds://localhost/\(export)", "--policy", fleet] + options)
  }
}

private struct Shown: Decodable {
  struct Rule: Decodable { var name: String? }
  struct File: Decodable {
    var file: String
    var defaultAction: String
    var rules: [Rule]
  }
  var files: [File]
}

private struct Explained: Decodable {
  struct Refusal: Decodable { var summary: String }
  var allowed: Bool
  var refusal: Refusal?
  var unknown: [String]
}
