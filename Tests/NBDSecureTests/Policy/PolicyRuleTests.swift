// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import NBDSecure

/// A policy of rules, a question, and the place of the file that decides.
struct PolicyRuleCase: Sendable, CustomTestStringConvertible {
  let name: String
  let rules: String
  var question = Fixture.question()
  let allowed: Bool
  let decidedBy: String

  var testDescription: String { name }
}

@Suite("Policy: rules")
struct PolicyRuleTests {
  @Test(arguments: cases) func decides(_ row: PolicyRuleCase) throws {
    let set = try Fixture.set(row.rules)
    let explanation = set.explain(row.question)
    #expect(explanation.allowed == row.allowed, "\(explanation.lines)")
    #expect(explanation.files.first?.decidedBy == row.decidedBy)
  }

  static func allow(_ keys: String) -> String {
    "default = 'deny'\n[[rule]]\naction = 'allow'\n" + keys
  }

  static func deny(_ keys: String) -> String {
    "default = 'allow'\n[[rule]]\naction = 'deny'\n" + keys
  }

  static let liar = Fixture.question(
    Fixture.tcp("db1.example.net", via: "192.0.2.6", addresses: ["192.0.2.6"]))
  static let renamed = Fixture.question(verifiedName: "other.example.org")
  static let plain = Fixture.question(channel: .plaintext)
  static let psk = Fixture.question(channel: .psk(file: "/etc/pki/keys.psk"))
  static let twoAddresses = Fixture.question(
    Fixture.tcp(addresses: ["10.1.2.3", "2001:db8::3"]))
  static let listing = Fixture.question(export: nil)
  static let link = Fixture.question(.unix(path: "/tmp/link", resolved: "/run/nbd/a.sock"))
  static let vsock = Fixture.question(.vsock(cid: 3, port: 10809))

  static let cases: [PolicyRuleCase] = [
    .init(
      name: "allow host", rules: allow("host = '*.example.net'"), allowed: true,
      decidedBy: "rule 1"),
    .init(
      name: "allow host in other case", rules: allow("host = 'DB1.Example.NET.'"), allowed: true,
      decidedBy: "rule 1"),
    .init(
      name: "allow another host", rules: allow("host = '*.example.com'"), allowed: false,
      decidedBy: "default"),
    .init(
      name: "allow host: the name verified is another", rules: allow("host = '*.example.net'"),
      question: renamed, allowed: false, decidedBy: "default"),
    .init(
      name: "allow the name verified, whatever was asked",
      rules: allow("host = 'other.example.org'"), question: renamed, allowed: true,
      decidedBy: "rule 1"),
    .init(
      name: "allow host: plaintext proves none", rules: allow("host = '*'"), question: plain,
      allowed: false, decidedBy: "default"),
    .init(
      name: "allow host: a pre-shared key proves none", rules: allow("host = '*'"), question: psk,
      allowed: false, decidedBy: "default"),
    .init(
      name: "allow address", rules: allow("address = '10.0.0.0/8'"), allowed: true,
      decidedBy: "rule 1"),
    .init(
      name: "allow address: connected elsewhere",
      rules: allow("host = '*.example.net'\naddress = '10.0.0.0/8'"), question: liar,
      allowed: false, decidedBy: "default"),
    .init(
      name: "allow address: one of two is outside", rules: allow("address = '10.0.0.0/8'"),
      question: twoAddresses, allowed: false, decidedBy: "default"),
    .init(
      name: "allow address: both listed",
      rules: allow("address = ['10.0.0.0/8', '2001:db8::/32']"), question: twoAddresses,
      allowed: true, decidedBy: "rule 1"),
    .init(
      name: "allow address: mapped is the same",
      rules: allow("address = '10.1.2.3'"),
      question: Fixture.question(Fixture.tcp(addresses: ["::ffff:10.1.2.3"])), allowed: true,
      decidedBy: "rule 1"),
    .init(
      name: "allow address: not looked up", rules: allow("address = '0.0.0.0/0'"),
      question: Fixture.question(Fixture.tcp(addresses: [])), allowed: false,
      decidedBy: "default"),
    .init(
      name: "allow export", rules: allow("export = 'vol*'"), allowed: true, decidedBy: "rule 1"),
    .init(
      name: "allow another export", rules: allow("export = 'vol2'"), allowed: false,
      decidedBy: "default"),
    .init(
      name: "allow one export, list", rules: allow("export = 'vol*'"), question: listing,
      allowed: false, decidedBy: "default"),
    .init(
      name: "allow every export, list", rules: allow("export = '*'"), question: listing,
      allowed: true, decidedBy: "rule 1"),
    .init(
      name: "allow socket", rules: allow("unix = '/run/nbd/*'"), question: link, allowed: true,
      decidedBy: "rule 1"),
    .init(
      name: "allow socket by a link to it", rules: allow("unix = '/tmp/link'"), question: link,
      allowed: false, decidedBy: "default"),
    .init(
      name: "star stops at a slash", rules: allow("unix = '/run/*'"), question: link,
      allowed: false, decidedBy: "default"),
    .init(
      name: "two stars do not", rules: allow("unix = '/run/**'"), question: link, allowed: true,
      decidedBy: "rule 1"),
    .init(
      name: "allow machine", rules: allow("vsock = [2, 3]"), question: vsock, allowed: true,
      decidedBy: "rule 1"),
    .init(
      name: "allow any machine", rules: allow("vsock = '*'"), question: vsock, allowed: true,
      decidedBy: "rule 1"),
    .init(
      name: "allow another machine", rules: allow("vsock = 4"), question: vsock, allowed: false,
      decidedBy: "default"),
    .init(
      name: "deny host asked for", rules: deny("host = '*.example.net'"), question: renamed,
      allowed: false, decidedBy: "rule 1"),
    .init(
      name: "deny host verified", rules: deny("host = '*.example.org'"), question: renamed,
      allowed: false, decidedBy: "rule 1"),
    .init(
      name: "deny host given as --address", rules: deny("host = 'bad.example'"),
      question: Fixture.question(Fixture.tcp("db1.example.net", via: "bad.example.")),
      allowed: false, decidedBy: "rule 1"),
    .init(
      name: "deny host in plaintext", rules: deny("host = '*.example.net'"), question: plain,
      allowed: false, decidedBy: "rule 1"),
    .init(
      name: "deny an address as host", rules: deny("host = '10.1.2.3'"), allowed: false,
      decidedBy: "rule 1"),
    .init(
      name: "deny a name that patterns cannot read", rules: deny("host = 'bad.example'"),
      question: Fixture.question(Fixture.tcp("bäd.example")), allowed: false,
      decidedBy: "rule 1"),
    .init(
      name: "deny address, any of them", rules: deny("address = '2001:db8::/32'"),
      question: twoAddresses, allowed: false, decidedBy: "rule 1"),
    .init(
      name: "deny either host or address",
      rules: deny("host = '*.example.net'\naddress = '172.16.0.0/12'"), question: liar,
      allowed: false, decidedBy: "rule 1"),
    .init(
      name: "deny export of a host", rules: deny("host = '*.example.net'\nexport = 'secret*'"),
      allowed: true, decidedBy: "default"),
    .init(
      name: "deny export", rules: deny("export = '*1'"), allowed: false, decidedBy: "rule 1"),
    .init(
      name: "deny socket by its link", rules: deny("unix = '/tmp/link'"), question: link,
      allowed: false, decidedBy: "rule 1"),
    .init(
      name: "deny socket behind a link", rules: deny("unix = '/run/nbd/a.sock'"), question: link,
      allowed: false, decidedBy: "rule 1"),
    .init(
      name: "first match decides: allow",
      rules: "default = 'deny'\n[[rule]]\naction = 'allow'\nexport = 'vol1'\n"
        + "[[rule]]\nname = 'rest'\naction = 'deny'\nexport = '*'",
      allowed: true, decidedBy: "rule 1"),
    .init(
      name: "first match decides: deny",
      rules: "default = 'allow'\n[[rule]]\nname = 'no'\naction = 'deny'\nexport = '*'\n"
        + "[[rule]]\naction = 'allow'\nexport = 'vol1'",
      allowed: false, decidedBy: "rule 1 \"no\""),
    .init(
      name: "default deny", rules: "default = 'deny'", allowed: false, decidedBy: "default"),
    .init(
      name: "default allow", rules: "default = 'allow'", allowed: true, decidedBy: "default"),
  ]

  @Test func `a rule's requirements hold for what it matches`() throws {
    let rule = "[[rule]]\naction = 'allow'\nhost = 'db*'\nread-only = true\nsame-key = true\n"
    let set = try Fixture.set("default = 'allow'\n" + rule)
    #expect(set.decide(Fixture.question()).parameters?.readOnly == true)
    let other = Fixture.question(Fixture.tcp("web"), verifiedName: "web")
    #expect(set.decide(other).parameters?.readOnly == false)
    #expect(set.decide(other).parameters?.sameKey == false)
  }

  @Test func `another name to verify does not shake off a rule's requirements`() throws {
    let rule = "[[rule]]\naction = 'allow'\nhost = 'db1.*'\npins = ['\(Fixture.keyB)']\n"
    let set = try Fixture.set("default = 'allow'\n" + rule)
    #expect(set.decide(Self.renamed).parameters?.pins == [Fixture.keyB])
    #expect(set.decide(Self.psk).refusal?.key == "pins")
    #expect(set.decide(Self.plain).refusal?.key == "pins")
    // The certificate carries the name all the same: the check after the handshake sees it.
    let stranger = Fixture.question(
      Fixture.tcp("web", addresses: ["10.1.2.3"]), verifiedName: "web")
    #expect(set.decide(stranger).refusal == nil)
    let proof = Fixture.proof(verifiedName: "web", names: ["web", "db1.example.net"])
    #expect(set.decide(stranger, proof: proof).refusal?.key == "pins")
  }

  @Test func `a second name in the certificate does not escape a denial`() throws {
    let set = try Fixture.set(Self.deny("host = 'bad.example'"))
    let proof = Fixture.proof(names: ["db1.example.net", "bad.example"])
    #expect(set.decide(Fixture.question()).refusal == nil)
    #expect(set.decide(Fixture.question(), proof: proof).refusal?.rule == "rule 1")
  }

  @Test func `an address that nobody foresaw is seen after connecting`() throws {
    let set = try Fixture.set(Self.allow("address = '10.0.0.0/8'"))
    #expect(set.decide(Fixture.question()).refusal == nil)
    for address in ["192.0.2.1", "not an address", nil] {
      let decision = set.decide(Fixture.question(), proof: Fixture.proof(address: address))
      #expect(decision.refusal?.rule == "default")
    }
  }

  @Test func `a session is what was asked for`() throws {
    let set = PolicySet.builtIn
    let psk = Fixture.proof(authentication: .psk)
    #expect(set.decide(Fixture.question(), proof: psk).refusal?.isIdentity == false)
    let none = PolicyProof(address: "10.1.2.3", session: nil)
    #expect(set.decide(Fixture.question(), proof: none).refusal != nil)
    #expect(set.decide(Self.plain, proof: none).refusal == nil)
    let renamed = Fixture.proof(verifiedName: "other.example.org")
    #expect(set.decide(Fixture.question(), proof: renamed).refusal?.isIdentity == true)
  }

  @Test func `files are intersected`() throws {
    let first = "[require]\nciphers = ['AES-256-GCM', 'AES-128-GCM']\ntls-min-version = '1.2'"
    let second = "[require]\nciphers = ['CHACHA20-POLY1305', 'AES-128-GCM']\n"
    let set = try Fixture.set(first, second + "tls-min-version = '1.3'\ncrl-max-age-days = 3")
    let parameters = try #require(set.decide(Fixture.question()).parameters)
    #expect(parameters.ciphers == ["AES-128-GCM"])
    #expect(parameters.minimumVersion == .tls13)
    #expect(parameters.revocationListMaximumAge == 3 * Fixture.day)
    #expect(parameters.plaintext == .never)
    #expect(parameters.origins["ciphers"] == ["1.toml [require]", "2.toml [require]"])
    let none = try Fixture.set(first, "[require]\nciphers = ['CHACHA20-POLY1305']")
    let refusal = try #require(none.decide(Fixture.question()).refusal)
    #expect(refusal.file == "2.toml")
    #expect(refusal.summary.contains("1.toml [require]"))
  }
}
