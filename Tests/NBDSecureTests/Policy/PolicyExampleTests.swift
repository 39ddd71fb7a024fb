// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import NBDSecure

/// The policies in examples/policy do what their comments say.
@Suite("Policy: examples")
struct PolicyExampleTests {
  private static func example(_ name: String) throws -> PolicySet {
    let root = #filePath.components(separatedBy: "/Tests/")[0]
    let file = root + "/examples/policy/\(name).toml"
    return try PolicySet.parse(try String(contentsOfFile: file, encoding: .utf8), file: file)
  }

  private static func asks(
    _ host: String, _ address: String, export: String? = "vol1",
    _ channel: PolicyQuestion.Channel = .x509(Fixture.credentials())
  ) -> PolicyQuestion {
    Fixture.question(
      Fixture.tcp(host, addresses: [address]), verifiedName: host, channel: channel,
      export: export)
  }

  @Test func laptop() throws {
    let set = try Self.example("laptop")
    #expect(set.decide(Self.asks("any.example", "192.0.2.1")).refusal == nil)
    #expect(set.decide(Self.asks("any.example", "192.0.2.1", .psk(file: "/k"))).refusal == nil)
    #expect(set.decide(Self.asks("any.example", "192.0.2.1", .plaintext)).refusal != nil)
    #expect(set.decide(Self.asks("localhost", "127.0.0.1", .plaintext)).refusal == nil)
    let backup = Self.asks("backup.home.example", "192.168.1.2")
    #expect(set.decide(backup).parameters?.pins?.count == 1)
    let proof = Fixture.proof(
      address: "192.168.1.2", verifiedName: "backup.home.example", names: [])
    #expect(set.decide(backup, proof: proof).refusal?.isIdentity == true)
  }

  @Test func `database fleet`() throws {
    let set = try Self.example("database-fleet")
    let channel = PolicyQuestion.Channel.x509(
      Fixture.credentials(anchors: "/etc/nbd-secure/pki/ca-cert.pem"))
    let host = "s1.storage.example.net"
    let volume = set.decide(Self.asks(host, "10.20.0.5", export: "pg-1", channel))
    #expect(volume.parameters?.readOnly == false)
    #expect(volume.parameters?.dataPaths == [.relay])
    let image = set.decide(Self.asks(host, "10.20.0.5", export: "image-1", channel))
    #expect(image.parameters?.readOnly == true)
    let refused = [
      Self.asks(host, "10.20.0.5", export: "other", channel),
      Self.asks(host, "192.0.2.1", export: "pg-1", channel),
      Self.asks("s1.example.org", "10.20.0.5", export: "pg-1", channel),
      Self.asks("s1.archive.example.net", "10.20.0.5", export: "pg-1", channel),
      Self.asks(host, "10.30.0.5", export: "pg-1", channel),
      Self.asks(host, "10.20.0.5", export: "pg-1"),
      Self.asks(host, "10.20.0.5", export: "pg-1", .psk(file: "/k")),
      Self.asks(host, "10.20.0.5", export: "pg-1", .plaintext),
    ]
    for question in refused { #expect(set.decide(question).refusal != nil, "\(question)") }
  }

  @Test func regulated() throws {
    let set = try Self.example("regulated")
    let anchors = "/etc/pki/site/nbd-ca.pem"
    let whole = PolicyQuestion.Channel.x509(Fixture.credentials(anchors: anchors))
    let ledger = Self.asks("ledger.nbd.site.example", "10.5.0.10", export: "ledger", whole)
    #expect(set.decide(ledger).parameters?.sameKey == true)
    #expect(set.decide(ledger).parameters?.ciphers == ["AES-256-GCM"])
    let stale = PolicyQuestion.Channel.x509(Fixture.credentials(anchors: anchors, crlAge: 8))
    let refused = [
      Self.asks("ledger.nbd.site.example", "10.5.0.10", export: "ledger", stale),
      Self.asks("ledger.nbd.site.example", "10.5.0.11", export: "ledger", whole),
      Self.asks("x.evidence.nbd.site.example", "10.99.0.1", export: "case-1", whole),
      Self.asks("x.evidence.nbd.site.example", "10.6.0.1", export: "ledger", whole),
    ]
    for question in refused { #expect(set.decide(question).refusal != nil, "\(question)") }
    let case1 = Self.asks("x.evidence.nbd.site.example", "10.6.0.1", export: "case-1", whole)
    #expect(set.decide(case1).parameters?.readOnly == true)
  }

  @Test func `what show and explain print`() throws {
    let set = try Self.example("regulated")
    #expect(set.describe().lines.contains("    if export = case-*"))
    #expect(set.describe().lines.contains("  require: tls-min-version = 1.3"))
    let explanation = set.explain(Self.asks("ledger.nbd.site.example", "10.5.0.10"))
    #expect(!explanation.allowed)
    #expect(explanation.files[0].decidedBy == "default")
    #expect(explanation.lines[0] == "ledger.nbd.site.example:10809 export \"vol1\": refused")
    let json = try JSONEncoder().encode(explanation)
    #expect(try JSONDecoder().decode(PolicyExplanation.self, from: json) == explanation)
    let shown = try JSONEncoder().encode(set.describe())
    #expect(try JSONDecoder().decode(PolicyDescription.self, from: shown) == set.describe())
  }
}
