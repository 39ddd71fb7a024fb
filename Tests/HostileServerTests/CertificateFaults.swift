// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// Servers whose certificate is wrong in one way, and those whose is unusual and right; all of it
/// end to end, as the command tells it.
@Suite struct CertificateFaults {
  @Test(arguments: faults) func isRefused(_ fault: Fault) throws { try fault.play() }
  @Test(arguments: oddities) func isAccepted(_ fault: Fault) throws { try fault.play() }

  /// Files of the client that prove nothing, whoever the server is: refused before it is asked.
  @Test(arguments: [
    ("crl-expired", "expired"), ("crl-not-yet-valid", "not valid before"),
    ("crl-other-ca", "issue"),
    ("expired", "client-cert.pem"), ("not-yet-valid", "client-cert.pem"),
    ("mismatch", "client-key.pem"), ("expired-ca", "ca-cert.pem"), ("not-a-ca", "ca-cert.pem"),
    ("server-purpose", "client-cert.pem"),
  ])
  func brokenFilesStopBeforeTheServer(_ directory: String, _ word: String) throws {
    let server = try FakeServer(.ipv4) { _ in }
    let pki = try PKI.shared.get()
    let seen = try nbdSecure([
      "info", "--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(server.port)",
      "--tls-creds", pki.path("clients/\(directory)"),
    ])
    #expect(seen.deviations(status: 66, saying: [directory]) == [])
    #expect(seen.stderr.contains(word), "\(seen)")
    #expect(server.connections.isEmpty)
  }

  private static func served(
    _ name: String, by certificate: String, trusting client: String = "trust",
    as host: String = "localhost", _ ending: Fault.Ending
  ) -> Fault {
    let aftermath: Fault.Aftermath
    if case .accepted = ending { aftermath = .anything } else { aftermath = .handshake }
    return Fault(
      name: name, verb: ["info", "--json", "--tls-hostname", host],
      security: ["--tls-creds", "PKI:" + client], ending: ending, aftermath: aftermath
    ) { connection in
      let pki = try PKI.shared.get()
      try connection.greet()
      try connection.expect(Wire.Option.startTLS)
      connection.fault()
      try connection.send(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack))
      let directory = pki.path("servers/" + certificate)
      let identity = TLSServerIdentity.x509(
        certificate: directory + "/server-cert.pem", key: directory + "/server-key.pem",
        // GnuTLS would not sign with what is too weak for its own defaults.
        priority: "NORMAL:%PROFILE_VERY_WEAK:%VERIFY_ALLOW_SIGN_WITH_SHA1")
      // A client that does not believe says so and closes; the rest is watched.
      guard (try? connection.startTLS(identity)) != nil else { return }
      try connection.expect(Wire.Option.info)
      try connection.send(
        Wire.reply(to: Wire.Option.info, Wire.Reply.info, Wire.exportInfo(size: 1 << 20))
          + Wire.reply(to: Wire.Option.info, Wire.Reply.ack))
    }
  }

  private static func refused(
    _ name: String, by certificate: String, trusting client: String = "trust",
    as host: String = "localhost", _ words: String...
  ) -> Fault {
    served(name, by: certificate, trusting: client, as: host, .refused(77, words))
  }

  private static func accepted(
    _ name: String, by certificate: String, trusting client: String = "trust",
    as host: String = "localhost"
  ) -> Fault {
    served(name, by: certificate, trusting: client, as: host, .accepted(["1048576"]))
  }

  private static let faults: [Fault] = [
    refused("expired", by: "expired", "expired on 2021-01-01"),
    refused("not yet valid", by: "not-yet-valid", "not valid before 2090-01-01"),
    refused("another authority", by: "other-ca", "another test authority"),
    refused("right authority, not ours", by: "good", trusting: "other-ca", "test authority"),
    refused("self-signed", by: "self-signed", "self-signed"),
    refused("another name", by: "wrong-name", "elsewhere.example"),
    refused("another name, asked for an address", by: "wrong-name", as: "127.0.0.1", "127.0.0.1"),
    refused("a name in CN only", by: "cn-only", "localhost"),
    refused("an address only, asked for a name", by: "ip-only", "127.0.0.1"),
    refused("another address", by: "good", as: "127.0.0.2", "127.0.0.2"),
    refused(
      "a wildcard for two labels", by: "wildcard", as: "a.b.hosts.example", "*.hosts.example"),
    refused("a wildcard for another domain", by: "wildcard", "*.hosts.example"),
    refused("a client's certificate", by: "no-server-purpose", "not for TLS servers"),
    refused("an issuer without the CA bit", by: "not-a-ca", "no authority"),
    refused("RSA of 1024 bits", by: "rsa-1024", "RSA 1024"),
    refused("SHA-1", by: "sha-1", "SHA1"),
    refused("revoked", by: "revoked", trusting: "clients/crl", "revoked"),
    refused("an intermediate left out", by: "intermediate-missing", "intermediate authority"),
  ]

  private static let oddities: [Fault] = [
    accepted("ECDSA", by: "good"),
    accepted("Ed25519", by: "ed25519"),
    accepted("RSA", by: "rsa"),
    accepted("a chain with an intermediate", by: "intermediate"),
    accepted("a wildcard", by: "wildcard", as: "server.hosts.example"),
    accepted("an address literal", by: "good", as: "127.0.0.1"),
    accepted("an IPv6 literal in brackets", by: "good", as: "[::1]"),
    accepted("a trailing dot", by: "good", as: "localhost."),
    accepted("a list that revokes others", by: "good", trusting: "clients/crl"),
  ]
}
