// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import NBDSecure

/// One row of the table: a policy, a question (and what came of it), and the key that refuses.
struct PolicyCase: Sendable, CustomTestStringConvertible {
  let name: String
  let policy: String
  var question = Fixture.question()
  var proof: PolicyProof?
  /// Nil: allowed.
  var refusedBy: PolicyKey?
  var isIdentity = false

  var testDescription: String { name }
}

@Suite("Policy: each key")
struct PolicyKeyTests {
  @Test(arguments: before) func asked(_ row: PolicyCase) throws {
    let decision = try Fixture.set(row.policy).decide(row.question)
    #expect(decision.refusal?.key == row.refusedBy?.rawValue, "\(decision)")
    #expect((decision.refusal == nil) == (row.refusedBy == nil))
  }

  @Test(arguments: after) func proven(_ row: PolicyCase) throws {
    let set = try Fixture.set(row.policy)
    #expect(set.decide(row.question).refusal == nil, "allowed before the handshake")
    let decision = set.decide(row.question, proof: try #require(row.proof))
    #expect(decision.refusal?.key == row.refusedBy?.rawValue, "\(decision)")
    #expect((decision.refusal == nil) == (row.refusedBy == nil))
    #expect((decision.refusal?.isIdentity ?? false) == row.isIdentity)
  }

  static let unix = PolicyQuestion.Transport.unix(path: "/run/nbd.sock", resolved: "/run/nbd.sock")
  static let loopback = Fixture.tcp("localhost", addresses: ["127.0.0.1", "::1"])
  static let plain = Fixture.question(channel: .plaintext)
  static let psk = Fixture.question(channel: .psk(file: "/etc/pki/keys.psk"))

  static func x509(_ credentials: PolicyQuestion.X509) -> PolicyQuestion {
    Fixture.question(channel: .x509(credentials))
  }

  static func require(_ lines: String) -> String { "[require]\n" + lines }

  static let before: [PolicyCase] = [
    .init(name: "nothing required", policy: ""),
    .init(name: "nothing required, plaintext", policy: "", question: plain),
    .init(
      name: "plaintext never", policy: require("plaintext = 'never'"), question: plain,
      refusedBy: .plaintext),
    .init(name: "plaintext never, but TLS", policy: require("plaintext = 'never'")),
    .init(
      name: "plaintext allowed", policy: require("plaintext = 'allowed'"), question: plain),
    .init(
      name: "plaintext local, remote", policy: require("plaintext = 'local'"), question: plain,
      refusedBy: .plaintext),
    .init(
      name: "plaintext local, loopback", policy: require("plaintext = 'local'"),
      question: Fixture.question(loopback, channel: .plaintext)),
    .init(
      name: "plaintext local, one address is remote", policy: require("plaintext = 'local'"),
      question: Fixture.question(
        Fixture.tcp("localhost", addresses: ["127.0.0.1", "10.0.0.1"]), channel: .plaintext),
      refusedBy: .plaintext),
    .init(
      name: "plaintext local, name not looked up", policy: require("plaintext = 'local'"),
      question: Fixture.question(Fixture.tcp("localhost", addresses: []), channel: .plaintext),
      refusedBy: .plaintext),
    .init(
      name: "plaintext local, socket", policy: require("plaintext = 'local'"),
      question: Fixture.question(unix, channel: .plaintext)),
    .init(
      name: "plaintext local, abstract socket", policy: require("plaintext = 'local'"),
      question: Fixture.question(.unix(path: "@x", resolved: "@x"), channel: .plaintext),
      refusedBy: .plaintext),
    .init(
      name: "plaintext local, vsock", policy: require("plaintext = 'local'"),
      question: Fixture.question(.vsock(cid: 1, port: 10809), channel: .plaintext),
      refusedBy: .plaintext),
    .init(
      name: "plaintext socket named",
      policy: require("plaintext = 'local'\nplaintext-sockets = ['/run/*.sock']"),
      question: Fixture.question(unix, channel: .plaintext)),
    .init(
      name: "plaintext socket not named",
      policy: require("plaintext = 'local'\nplaintext-sockets = ['/run/nbd/*.sock']"),
      question: Fixture.question(unix, channel: .plaintext), refusedBy: .plaintextSockets),
    .init(
      name: "who demands TLS 1.3 demands TLS", policy: require("tls-min-version = '1.3'"),
      question: plain, refusedBy: .tlsMinVersion),
    .init(
      name: "unless plaintext is mentioned",
      policy: require("tls-min-version = '1.3'\nplaintext = 'allowed'"), question: plain),
    .init(
      name: "kind refused", policy: require("authentication = ['psk']"),
      refusedBy: .authentication),
    .init(
      name: "kind allowed", policy: require("authentication = 'psk'"), question: psk),
    .init(
      name: "x509 demanded, PSK given", policy: require("authentication = ['x509']"),
      question: psk, refusedBy: .authentication),
    .init(
      name: "pins demand x509", policy: require("pins = ['\(Fixture.keyA)']"), question: psk,
      refusedBy: .pins),
    .init(
      name: "x509 demands concern x509 where both are allowed",
      policy: require("authentication = ['x509', 'psk']\npins = ['\(Fixture.keyA)']\ncrl = true"),
      question: psk),
    .init(
      name: "client certificate missing", policy: require("client-certificate = true"),
      question: x509(Fixture.credentials(client: false)), refusedBy: .clientCertificate),
    .init(name: "client certificate there", policy: require("client-certificate = true")),
    .init(
      name: "CRL missing", policy: require("crl = true"),
      question: x509(Fixture.credentials(crlAge: nil)), refusedBy: .crl),
    .init(name: "CRL there", policy: require("crl = true")),
    .init(
      name: "CRL too old", policy: require("crl-max-age-days = 7"),
      question: x509(Fixture.credentials(crlAge: 8)), refusedBy: .crlMaxAgeDays),
    .init(
      name: "CRL of the largest age", policy: require("crl-max-age-days = 7"),
      question: x509(Fixture.credentials(crlAge: 7))),
    .init(
      name: "CRL age asked, no CRL", policy: require("crl-max-age-days = 7"),
      question: x509(Fixture.credentials(crlAge: nil)), refusedBy: .crlMaxAgeDays),
    .init(
      name: "client certificate ends soon", policy: require("min-remaining-days = 91"),
      refusedBy: .minRemainingDays),
    .init(name: "client certificate lasts", policy: require("min-remaining-days = 90")),
    .init(
      name: "trust anchor of one's own", policy: require("trust-anchors = ['/etc/pki/other.pem']"),
      refusedBy: .trustAnchors),
    .init(name: "trust anchor", policy: require("trust-anchors = ['/etc/pki/ca.pem']")),
    .init(
      name: "system trust not listed", policy: require("trust-anchors = ['/etc/pki/ca.pem']"),
      question: x509(Fixture.credentials(anchors: nil)), refusedBy: .trustAnchors),
    .init(
      name: "system trust", policy: require("trust-anchors = ['system']"),
      question: x509(Fixture.credentials(anchors: nil))),
    .init(
      name: "trust anchors demand x509", policy: require("trust-anchors = ['/etc/pki/ca.pem']"),
      question: psk, refusedBy: .trustAnchors),
    .init(
      name: "key file of one's own", policy: require("psk-files = ['/etc/pki/other.psk']"),
      question: psk, refusedBy: .pskFiles),
    .init(
      name: "key file", policy: require("psk-files = ['/etc/pki/keys.psk']"), question: psk),
    .init(
      name: "key files demand PSK", policy: require("psk-files = ['/etc/pki/keys.psk']"),
      refusedBy: .pskFiles),
    .init(
      name: "data path refused", policy: require("data-paths = ['relay']"),
      question: Fixture.question(dataPaths: [.ktls]), refusedBy: .dataPaths),
    .init(name: "data path left", policy: require("data-paths = ['relay']")),
    .init(
      name: "no device, no data path", policy: require("data-paths = ['relay']"),
      question: Fixture.question(dataPaths: [])),
    .init(
      name: "pins of policy and options have none in common",
      policy: require("pins = ['\(Fixture.keyA)']"),
      question: Fixture.question(pins: [Fixture.keyB]), refusedBy: .pins),
  ]

  /// Each key has a row that refuses and one that does not; read-only has a test of its own.
  @Test func noKeyIsLeftOut() {
    let rows = Self.before + Self.after
    for key in PolicyKey.allCases where key != .readOnly {
      #expect(rows.contains { $0.refusedBy == key }, "\(key)")
      #expect(rows.contains { $0.refusedBy == nil && $0.policy.contains(key.rawValue) }, "\(key)")
    }
  }

  /// The other kind of session than was asked for is refused, whatever policy says of kinds.
  @Test(arguments: ["", require("plaintext = 'allowed'\nauthentication = ['x509', 'psk']")])
  func anotherKindOfSession(_ policy: String) throws {
    let set = try Fixture.set(policy)
    for (question, proof) in [
      (Fixture.question(), Fixture.proof(authentication: .psk)), (Self.psk, Fixture.proof()),
      (Fixture.question(), PolicyProof(address: "10.1.2.3", session: nil)),
      (Self.plain, Fixture.proof()),
    ] {
      #expect(set.decide(question).refusal == nil)
      #expect(set.decide(question, proof: proof).refusal != nil)
    }
  }

  /// A demand to read only is met by reading only, by nobody else.
  @Test(arguments: [false, true], [false, true])
  func readOnly(demanded: Bool, asked: Bool) throws {
    let set = try Fixture.set(demanded ? Self.require("read-only = true") : "")
    let parameters = try #require(
      set.decide(Fixture.question(readOnly: asked)).parameters)
    #expect(parameters.readOnly == (demanded || asked))
    let writing = set.decide(Fixture.question(readOnly: asked, needsToWrite: true))
    #expect(writing.refusal?.key == (demanded ? "read-only" : nil))
  }

  static let after: [PolicyCase] = [
    .init(
      name: "TLS 1.2 where 1.3 is wanted", policy: require("tls-min-version = '1.3'"),
      proof: Fixture.proof(version: .tls12), refusedBy: .tlsMinVersion),
    .init(
      name: "TLS 1.3", policy: require("tls-min-version = '1.3'"), proof: Fixture.proof()),
    .init(
      name: "the options' version", policy: "", question: Fixture.question(minimumVersion: .tls13),
      proof: Fixture.proof(version: .tls12), refusedBy: .tlsMinVersion),
    .init(
      name: "cipher not listed", policy: require("ciphers = ['CHACHA20-POLY1305']"),
      proof: Fixture.proof(), refusedBy: .ciphers),
    .init(
      name: "cipher", policy: require("ciphers = ['AES-128-GCM', 'aes-256-gcm']"),
      proof: Fixture.proof()),
    .init(
      name: "group not listed", policy: require("groups = ['X448']"), proof: Fixture.proof(),
      refusedBy: .groups),
    .init(name: "group", policy: require("groups = ['X25519']"), proof: Fixture.proof()),
    .init(
      name: "no group", policy: require("groups = ['X25519']"),
      proof: Fixture.proof(group: nil), refusedBy: .groups),
    .init(
      name: "a list for every certificate", policy: require("crl = true"), proof: Fixture.proof()),
    .init(
      name: "no list for the issuer", policy: require("crl = true"),
      proof: Fixture.proof(unlisted: "CN=db1"), refusedBy: .crl),
    .init(
      name: "no list of any age for the issuer", policy: require("crl-max-age-days = 7"),
      proof: Fixture.proof(unlisted: "CN=db1"), refusedBy: .crlMaxAgeDays),
    .init(
      name: "no list, nobody minds", policy: "", proof: Fixture.proof(unlisted: "CN=db1")),
    .init(
      name: "pin", policy: require("pins = ['\(Fixture.keyB)', '\(Fixture.keyA)']"),
      proof: Fixture.proof()),
    .init(
      name: "wrong pin", policy: require("pins = ['\(Fixture.keyB)']"), proof: Fixture.proof(),
      refusedBy: .pins, isIdentity: true),
    .init(
      name: "key unknown where one is pinned", policy: require("pins = ['\(Fixture.keyB)']"),
      proof: Fixture.proof(key: nil), refusedBy: .pins, isIdentity: true),
    .init(
      name: "the options' pin", policy: "", question: Fixture.question(pins: [Fixture.keyB]),
      proof: Fixture.proof(), refusedBy: .pins, isIdentity: true),
    .init(
      name: "same key, first time", policy: require("same-key = true"), proof: Fixture.proof()),
    .init(
      name: "same key", policy: require("same-key = true"),
      proof: Fixture.proof(previousKey: Fixture.keyA)),
    .init(
      name: "another key", policy: require("same-key = true"),
      proof: Fixture.proof(previousKey: Fixture.keyB), refusedBy: .sameKey, isIdentity: true),
    .init(
      name: "another key, nobody minds", policy: "",
      proof: Fixture.proof(previousKey: Fixture.keyB)),
    .init(
      name: "server's certificate ends soon", policy: require("min-remaining-days = 61"),
      proof: Fixture.proof(), refusedBy: .minRemainingDays),
    .init(
      name: "server's certificate lasts", policy: require("min-remaining-days = 60"),
      proof: Fixture.proof()),
  ]
}
