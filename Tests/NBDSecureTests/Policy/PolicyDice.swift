// SPDX-License-Identifier: Apache-2.0

@testable import NBDSecure

/// A server as it really is.
struct PolicyServer {
  let address: String
  /// What its certificate carries.
  let names: [String]
  let key: PolicyPin
  let version: PolicyTLSVersion
  let cipher: String
  let group: String
}

/// Random policies, servers and options out of a small world, so that they often meet.
struct PolicyDice {
  private var random: PolicyRandom

  init(seed: UInt64) { random = PolicyRandom(seed: seed) }

  static let hosts = ["db1.a", "db2.a", "web.b", "10.0.0.1"]
  static let addresses = ["10.0.0.1", "10.0.0.2", "192.0.2.1", "127.0.0.1", "2001:db8::1"]
  static let exports = ["vol1", "vol2", "secret"]
  static let anchors: [String?] = ["/etc/pki/ca.pem", "/home/me/ca.pem", nil]
  static let keyFiles = ["/etc/pki/keys.psk", "/home/me/keys.psk"]

  mutating func pick<Element>(_ choices: [Element]) -> Element {
    choices[Int.random(in: choices.indices, using: &random)]
  }

  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

  private mutating func some(_ choices: [String]) -> String {
    let count = Int.random(in: 1...2, using: &random)
    return "[" + (0..<count).map { _ in "'\(pick(choices))'" }.joined(separator: ", ") + "]"
  }

  mutating func files(_ count: ClosedRange<Int>) throws -> [PolicyFile] {
    try (0..<Int.random(in: count, using: &random)).map {
      try PolicyFile(parsing: text(), path: "\($0).toml") { $0 }
    }
  }

  private mutating func text() -> String {
    var text = "default = '\(pick(["allow", "allow", "deny"]))'\n[require]\n"
    if chance(40) { text += requirements() }
    for _ in 0..<Int.random(in: 0...3, using: &random) {
      let allow = chance(65)
      text += "[[rule]]\naction = '\(allow ? "allow" : "deny")'\n" + match()
      if allow, chance(50) { text += requirements() }
    }
    return text
  }

  private mutating func match() -> String {
    let host = "host = " + some(Self.hosts + ["*.a", "*.b", "*"]) + "\n"
    let address =
      "address = " + some(Self.addresses + ["10.0.0.0/8", "0.0.0.0/0", "::/0"]) + "\n"
    let export = "export = " + some(Self.exports + ["vol*", "*"]) + "\n"
    switch Int.random(in: 0..<6, using: &random) {
    case 0, 1: return host
    case 2: return address
    case 3: return export
    case 4: return host + export
    default: return host + address
    }
  }

  private mutating func requirements() -> String {
    var lines: [String] = []
    let keys: [(PolicyKey, String)] = [
      (.plaintext, "'\(pick(["never", "local", "allowed"]))'"),
      (.tlsMinVersion, "'\(pick(["1.2", "1.3"]))'"),
      (.ciphers, some(PolicyNames.ciphers)),
      (.groups, some(["X25519", "SECP256R1"])),
      (.authentication, pick(["['x509']", "['x509', 'psk']"])),
      (.clientCertificate, "true"),
      (.crl, "true"),
      (.minRemainingDays, "\(pick([30, 70]))"),
      (.pins, some([Fixture.keyA.description, Fixture.keyB.description])),
      (.sameKey, "true"),
      (.trustAnchors, some(["/etc/pki/ca.pem", "system"])),
      (.readOnly, "true"),
      (.dataPaths, some(["relay", "ktls"])),
    ]
    for (key, value) in keys where chance(15) { lines.append("\(key.rawValue) = \(value)\n") }
    return lines.joined()
  }

  mutating func server() -> PolicyServer {
    PolicyServer(
      address: pick(Self.addresses),
      names: chance(50) ? [pick(Self.hosts)] : [pick(Self.hosts), pick(Self.hosts)],
      key: pick([Fixture.keyA, Fixture.keyB]), version: pick([.tls12, .tls13, .tls13]),
      cipher: pick(["AES-256-GCM", "AES-128-GCM"]), group: pick(["X25519", "SECP256R1"]))
  }

  /// Options that reach the server: any host name can be given (`--address`, or a name service of
  /// one's own, leads there), and any name of its certificate verified (`--tls-hostname`).
  mutating func question(to server: PolicyServer) -> PolicyQuestion {
    let channel: PolicyQuestion.Channel =
      switch Int.random(in: 0..<10, using: &random) {
      case 0, 1: .plaintext
      case 2: .psk(file: pick(Self.keyFiles))
      default:
        .x509(
          Fixture.credentials(
            anchors: pick(Self.anchors), client: chance(60), crlAge: chance(60) ? 1 : nil))
      }
    let name = chance(80) ? pick(server.names) : nil
    return PolicyQuestion(
      transport: .tcp(
        host: chance(60) ? server.names[0] : pick(Self.hosts),
        via: chance(30) ? pick(Self.hosts + [server.address]) : nil, port: 10809,
        addresses: chance(85) ? [server.address] : [server.address, pick(Self.addresses)]),
      channel: channel, verifiedName: name ?? server.names[0],
      export: chance(90) ? pick(Self.exports) : nil,
      dataPaths: pick([[.relay, .ktls], [.relay], [.ktls], []]),
      minimumVersion: pick([.tls12, .tls12, .tls13]),
      pins: chance(10) ? [pick([Fixture.keyA, Fixture.keyB])] : nil, now: Fixture.now)
  }

  mutating func proof(of server: PolicyServer, for question: PolicyQuestion) -> PolicyProof {
    guard let kind = question.authentication else {
      return PolicyProof(address: server.address, session: nil)
    }
    return Fixture.proof(
      address: server.address, version: server.version, cipher: server.cipher,
      group: server.group, authentication: kind, key: server.key,
      previousKey: chance(20) ? pick([Fixture.keyA, Fixture.keyB]) : nil,
      verifiedName: question.verifiedName, names: kind == .x509 ? server.names : [])
  }
}
