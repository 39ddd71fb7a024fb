// SPDX-License-Identifier: Apache-2.0
import TLS
import TestSupport
import Testing

/// Servers whose certificates are right, or wrong in one way.
@Suite struct CertificateTests {
  @Test(
    arguments: [
      "good", "ed25519", "rsa", "intermediate",
    ], Version.allCases)
  func accepted(_ name: String, _ version: Version) throws {
    let facts = try prove(server(name, version), x509())
    #expect(facts.version.rawValue == version.rawValue)
    guard case .x509(let certificate, let length) = facts.authentication else {
      Issue.record("\(facts.authentication)")
      return
    }
    #expect(length == (name == "intermediate" ? 2 : 1))
    #expect(certificate.dnsNames == ["localhost", "server.example"])
    #expect(certificate.ipAddresses == ["127.0.0.1", "::1"])
    #expect((364...365).contains(certificate.remainingDays()))
    #expect(!facts.clientCertificateRequested && !facts.clientCertificateSent)
  }

  private func certificate(_ facts: SessionFacts) throws -> CertificateFacts {
    guard case .x509(let certificate, _) = facts.authentication else {
      throw SystemError("certificate", because: "there is none: \(facts)")
    }
    return certificate
  }

  struct Wrong: Sendable, CustomStringConvertible {
    let server: String
    var client = "trust"
    var name = "localhost"
    let kind: TLSError.Kind
    let says: [String]
    var description: String { "\(server) as \(name) for \(client)" }
  }

  static let wrong: [Wrong] = [
    Wrong(
      server: "wrong-name", kind: .nameMismatch,
      says: ["not for “localhost” but for elsewhere.example, 192.0.2.1"]),
    Wrong(server: "wrong-name", name: "127.0.0.1", kind: .nameMismatch, says: ["“127.0.0.1”"]),
    Wrong(server: "cn-only", kind: .nameMismatch, says: ["names no host", "“localhost”"]),
    Wrong(server: "ip-only", kind: .nameMismatch, says: ["but for 127.0.0.1"]),
    Wrong(server: "wildcard", kind: .nameMismatch, says: ["*.hosts.example"]),
    Wrong(
      server: "wildcard", name: "a.b.hosts.example", kind: .nameMismatch, says: ["*.hosts.example"]),
    Wrong(server: "good", name: "10.0.0.1", kind: .nameMismatch, says: ["“10.0.0.1”"]),
    Wrong(server: "good", name: "::2", kind: .nameMismatch, says: ["“::2”"]),
    Wrong(server: "expired", kind: .expired, says: ["expired on 2021-01-01 00:00:00 UTC"]),
    Wrong(server: "not-yet-valid", kind: .notYetValid, says: ["not valid before 2090-01-01"]),
    Wrong(server: "no-server-purpose", kind: .wrongPurpose, says: ["not for TLS servers"]),
    Wrong(server: "rsa-1024", kind: .insecureAlgorithm, says: ["RSA 1024"]),
    Wrong(server: "sha-1", kind: .insecureAlgorithm, says: ["ECDSA-SHA1"]),
    Wrong(server: "self-signed", kind: .selfSigned, says: ["self-signed"]),
    Wrong(
      server: "other-ca", kind: .unknownIssuer,
      says: ["another test authority", "ca-cert.pem does not know"]),
    Wrong(
      server: "intermediate-missing", kind: .unknownIssuer,
      says: ["nbd-secure intermediate authority"]),
    Wrong(server: "not-a-ca", kind: .issuerNotAuthority, says: ["no authority at all"]),
    Wrong(server: "good", client: "other-ca", kind: .unknownIssuer, says: ["test authority"]),
    Wrong(server: "revoked", client: "clients/crl", kind: .revoked, says: ["revoked"]),
    Wrong(
      server: "intermediate", client: "clients/crl-intermediate-revoked", kind: .revoked,
      says: ["revoked"]),
    Wrong(
      server: "names-5000", kind: .certificateRejected, says: ["more than 4096 names"]),
  ]

  @Test(arguments: wrong, Version.allCases)
  func refused(_ wrong: Wrong, _ version: Version) throws {
    let identity = try server(wrong.server, version)
    let listening = try FakeServer { try $0.startTLS(identity) }
    defer { listening.stop() }
    let session = try TLSSession.connected(to: listening, x509(wrong.client), as: wrong.name)
    let error = failure(TLSError.self) { try session.handshake(deadline: soon) }
    #expect(error?.kind == wrong.kind, "\(String(describing: error))")
    #expect(error?.kind.category == .identity)
    for text in wrong.says {
      #expect(error?.message.contains(text) ?? false, "\(String(describing: error))")
    }
    #expect(session.facts == nil)
    // The server is told, and no data can follow.
    session.close(deadline: soon)
    let record = try listening.finished().record
    guard case .tls = record.failure else {
      Issue.record("the server saw \(String(describing: record.failure))")
      return
    }
    #expect(record.decrypted.isEmpty)
  }

  @Test(arguments: [
    ("good", "trust", "server.example"), ("good", "trust", "SERVER.example."),
    ("good", "trust", "127.0.0.1"), ("good", "trust", "::1"), ("good", "trust", "[::1%lo]"),
    ("ip-only", "trust", "127.0.0.1"), ("wildcard", "trust", "nbd.hosts.example"),
    ("good", "clients/crl", "localhost"), ("revoked", "trust", "localhost"),
  ])
  func names(_ name: String, _ client: String, _ host: String) throws {
    try prove(server(name), x509(client), as: host)
  }

  @Test func pins() throws {
    let certificate = try certificate(prove(server(), x509()))
    var requirements = TLSRequirements()
    requirements.pins = [certificate.publicKey]
    try prove(server(), x509(), as: "localhost", requirements)

    // The same digest as from other tools.
    let made = try run(
      "/bin/sh",
      [
        "-c",
        "certtool --pubkey-info --load-certificate \"$1\" --outder --no-text | sha256sum", "sh",
        pki("servers/good/server-cert.pem"),
      ])
    #expect(made.stdout.hasPrefix(certificate.publicKey.hexadecimal), "\(made)")

    requirements.pins = [PublicKeyPin("sha256:" + String(repeating: "0a", count: 32))!]
    let error = failure(TLSError.self) {
      try prove(server(), x509(), as: "localhost", requirements)
    }
    #expect(error?.kind == .pinMismatch)
    #expect(error?.message.contains(certificate.publicKey.description) ?? false)
  }

  /// With a pinned key everything else is checked still.
  @Test func pinsDoNotReplaceVerification() throws {
    let certificate = try certificate(prove(server("other-ca"), x509("other-ca")))
    let requirements = TLSRequirements(pins: [certificate.publicKey])
    let error = failure(TLSError.self) {
      try prove(server("other-ca"), x509(), as: "localhost", requirements)
    }
    #expect(error?.kind == .unknownIssuer)
  }

  @Test func systemTrustDoesNotKnowTestAuthorities() throws {
    let credentials = try Credentials.x509(.systemTrust())
    let error = failure(TLSError.self) { try prove(server(), credentials) }
    #expect(error?.kind == .unknownIssuer)
    #expect(error?.message.contains("the system's trust store does not know") ?? false)
  }
}
