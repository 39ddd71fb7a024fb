// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import NBDSecure

@Suite("Policy: malformed files")
struct PolicyMalformedTests {
  /// What is wrong, the key that the error must name (nil: the line), and words of the reason.
  @Test(arguments: [
    // Not TOML: the line.
    ("[require\n", nil, "TOML"), ("a = \n", nil, "TOML"),
    ("default = 'deny'\ndefault = 'allow'", nil, "TOML"),
    ("[require]\ncrl = true\n[require]\ncrl = false", nil, "TOML"), ("x", nil, "TOML"),
    ("= 1", nil, "TOML"),
    // Unknown keys.
    ("defualt = 'deny'", "defualt", "unknown key"),
    ("tls-min-version = '1.3'", "tls-min-version", "unknown key"),
    ("[require]\nmin-version = '1.3'", "require.min-version", "unknown key"),
    ("[require]\nhost = 'a'", "require.host", "unknown key"), ("[tls]\n", "tls", "unknown key"),
    ("[[rule]]\naction = 'deny'\nhosts = 'a'", "rule[1].hosts", "unknown key"),
    (
      "default = 'deny'\n[[rule]]\naction = 'deny'\nhost = 'a'\n[[rule]]\naction = 'deny'\nhost = 'a'\nx.y = 1",
      "rule[2].x", "unknown key"
    ),
    // Wrong types.
    ("default = true", "default", "must be a string, not a boolean"),
    ("require = 'crl'", "require", "must be a table"), ("rule = 1", "rule", "must be tables"),
    ("rule = [1]", "rule[1]", "must be a table"),
    ("[rule]\naction = 'deny'", "rule", "must be tables"),
    ("[require]\nplaintext = false", "require.plaintext", "must be a string"),
    (
      "[require]\ntls-min-version = 1.3", "require.tls-min-version",
      "must be a string, not a floating"
    ),
    ("[require]\ncrl = 'true'", "require.crl", "must be true or false"),
    ("[require]\ncrl = 1", "require.crl", "must be true or false"),
    ("[require]\ncrl-max-age-days = '7'", "require.crl-max-age-days", "must be an integer"),
    (
      "[require]\ncrl-max-age-days = 1979-05-27", "require.crl-max-age-days",
      "must be an integer, not a date"
    ),
    ("[require]\nciphers = true", "require.ciphers", "must be a list of"),
    ("[require]\nciphers = [['AES-128-GCM']]", "require.ciphers", "must be a list of"),
    ("[require]\npins = [1]", "require.pins", "must be a list of"),
    ("default = 'deny'\n[[rule]]\naction = 'deny'\nhost = 5", "rule[1].host", "must be a list of"),
    // Bad values.
    ("default = 'maybe'", "default", "unknown value"),
    ("default = 'Deny'", "default", "unknown value"),
    ("[require]\nplaintext = 'no'", "require.plaintext", "unknown value"),
    ("[require]\ntls-min-version = '1.1'", "require.tls-min-version", "unknown value"),
    ("[require]\nciphers = []", "require.ciphers", "empty list"),
    ("[require]\nciphers = ['AES-128-CBC']", "require.ciphers", "none of"),
    ("[require]\ngroups = ['P-256']", "require.groups", "none of"),
    ("[require]\nauthentication = ['none']", "require.authentication", "none of"),
    ("[require]\ncrl-max-age-days = 0", "require.crl-max-age-days", "must be from"),
    ("[require]\nmin-remaining-days = -1", "require.min-remaining-days", "must be from"),
    (
      "[require]\nmin-remaining-days = 9223372036854775807", "require.min-remaining-days",
      "must be from"
    ),
    ("[require]\npins = ['sha256:00']", "require.pins", "none of"),
    ("[require]\ntrust-anchors = ['ca.pem']", "require.trust-anchors", "none of"),
    ("[require]\npsk-files = ['system']", "require.psk-files", "none of"),
    ("[require]\ndata-paths = ['auto']", "require.data-paths", "none of"),
    (
      "default = 'deny'\n[[rule]]\naction = 'deny'\naddress = '10.0.0.1/8'", "rule[1].address",
      "none of"
    ),
    ("default = 'deny'\n[[rule]]\naction = 'deny'\nhost = 'bäd'", "rule[1].host", "none of"),
    ("default = 'deny'\n[[rule]]\naction = 'deny'\nhost = ''", "rule[1].host", "none of"),
    ("default = 'deny'\n[[rule]]\naction = 'deny'\nunix = 'run/a'", "rule[1].unix", "none of"),
    ("default = 'deny'\n[[rule]]\naction = 'deny'\nvsock = -1", "rule[1].vsock", "none of"),
    ("default = \"a\\nb\\u001b\"", "default", "unknown value"),
    (
      "default = 'deny'\n[[rule]]\nname = \"a\\nb\"\naction = 'deny'\nhost = 'a'", "rule[1].name",
      "one line"
    ),
    // Rules that make no sense.
    ("[[rule]]\naction = 'deny'\nhost = 'a'", "default", "is missing"),
    ("default = 'deny'\n[[rule]]\nhost = 'a'", "rule[1].action", "is missing"),
    ("default = 'deny'\n[[rule]]\naction = 'allow'", "rule[1].action", "nothing in particular"),
    (
      "default = 'deny'\n[[rule]]\naction = 'deny'\nhost = 'a'\ncrl = true", "rule[1].crl", "denies"
    ),
    (
      "default = 'deny'\n[[rule]]\naction = 'allow'\nunix = '/a'\naddress = '::1'",
      "rule[1].action", "more than one"
    ),
    ("[require]\nplaintext-sockets = ['/a']", "require.plaintext-sockets", "means nothing"),
    ("[require]\ncrl = false\ncrl-max-age-days = 1", "require.crl-max-age-days", "contradicts"),
    (
      "[require]\nauthentication = ['x509']\npsk-files = ['/a']", "require.psk-files",
      "means nothing"
    ),
    (
      "[require]\nauthentication = ['psk']\ntrust-anchors = ['/a']", "require.trust-anchors",
      "means nothing"
    ),
    // What C would read differently.
    ("default = 'allow'\0", nil, "TOML"), ("\"default\\u0000\" = 'allow'", nil, "TOML"),
    ("default = \"allow\\U00000000x\"", nil, "TOML"),
  ]) func refused(text: String, key: String?, reason: String) throws {
    let error = #expect(throws: PolicyError.self) { try Fixture.file(text, path: "/p.toml") }
    let found = try #require(error)
    #expect(found.file == "/p.toml")
    #expect(found.summary.hasPrefix("policy file /p.toml"))
    #expect(found.reason.contains(reason), "\(found.summary)")
    #expect(!found.summary.contains("\n"))
    #expect(found.line != nil)
    switch key {
    case nil: break
    default: #expect(found.key == key)
    }
  }

  @Test func `too many rules`() {
    let rules = String(repeating: "[[rule]]\naction = 'deny'\nexport = 'a'\n", count: 1001)
    #expect(throws: PolicyError.self) { try Fixture.file("default = 'deny'\n" + rules) }
  }

  @Test func `too long a list`() {
    let list = String(repeating: "'a',", count: 1025)
    #expect(throws: PolicyError.self) {
      try Fixture.file("default = 'deny'\n[[rule]]\naction = 'deny'\nexport = [\(list)]")
    }
  }

  @Test func `deep nesting`() {
    for depth in [100, 10_000, 100_000] {
      let text = "a = " + String(repeating: "[", count: depth)
      #expect(throws: PolicyError.self) { try Fixture.file(text) }
      let closed = text + String(repeating: "]", count: depth)
      #expect(throws: PolicyError.self) { try Fixture.file(closed) }
    }
  }
}
