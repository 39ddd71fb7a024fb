// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Each key of a policy file end to end: the status and the line of the command that is refused, and
/// that the server heard nothing where policy could know before, and nothing inside TLS where only
/// the handshake told.
@Suite struct PolicyVerdictTests {
  struct Row: Sendable, CustomTestStringConvertible {
    /// A line of `[require]`.
    let line: String
    var options = ["--tls-creds", "PKI:trust"]
    var status: Int32 = 78
    /// What the line of error says beside the file's name.
    var words: [String]
    var verb = ["info"]
    /// The server's certificate and priorities.
    var certificate = "good"
    var priority = "NORMAL"
    var isAfterHandshake = false
    /// The same policy, met by what is asked for instead.
    var metBy: [String]?

    var testDescription: String { "\(line) \(options)" }
  }

  private static let zeroes = "sha256:" + String(repeating: "0", count: 64)
  private static let ones = "sha256:" + String(repeating: "1", count: 64)
  private static let psk = ["--tls-creds", "PKI:psk"]
  private static let client = ["--tls-creds", "PKI:client"]
  private static let lists = ["--tls-creds", "PKI:clients/crl"]

  private static let before: [Row] = [
    Row(
      line: "plaintext = 'never'", options: ["--allow-plaintext"], words: ["plaintext"],
      metBy: ["--tls-creds", "PKI:trust"]),
    Row(
      line: "tls-min-version = '1.2'", options: ["--allow-plaintext"], words: ["TLS"],
      metBy: ["--tls-creds", "PKI:trust"]),
    Row(line: "authentication = ['psk']", words: ["authentication"]),
    Row(
      line: "authentication = ['x509']", options: psk, words: ["authentication"],
      metBy: ["--tls-creds", "PKI:trust"]),
    Row(line: "client-certificate = true", words: ["client certificate"], metBy: client),
    Row(line: "crl = true", words: ["revocation list"], metBy: lists),
    Row(line: "crl-max-age-days = 7", words: ["revocation list"], metBy: lists),
    Row(
      line: "min-remaining-days = 3000", options: client, words: ["client certificate"]),
    Row(
      line: "pins = ['\(zeroes)']",
      options: ["--tls-creds", "PKI:trust", "--tls-pin", ones],
      words: ["pins leaves nothing in common"]),
    Row(line: "trust-anchors = ['/nonexistent/ca.pem']", words: ["ca-cert.pem"]),
    Row(
      line: "psk-files = ['/nonexistent/keys.psk']", options: psk, words: ["keys.psk"]),
    Row(
      line: "read-only = true", words: ["read-only"],
      verb: ["copy", "--from", "/dev/null"]),
    Row(
      line: "tls-min-version = '1.3'",
      options: [
        "--tls-creds", "PKI:trust", "--tls-priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2",
      ], status: 64, words: ["--tls-priority"], metBy: ["--tls-creds", "PKI:trust"]),
  ]

  private static let after: [Row] = [
    Row(
      line: "tls-min-version = '1.3'", status: 77, words: ["TLS"],
      priority: "NORMAL:-VERS-ALL:+VERS-TLS1.2", isAfterHandshake: true),
    Row(
      line: "ciphers = ['CHACHA20-POLY1305']", status: 77, words: ["TLS"],
      priority: "NORMAL:-CHACHA20-POLY1305", isAfterHandshake: true),
    Row(
      line: "groups = ['X448']", status: 77, words: ["TLS"], priority: "NORMAL:-GROUP-X448",
      isAfterHandshake: true),
    Row(
      line: "crl = true", options: ["--tls-creds", "PKI:clients/crl"], words: ["CN=localhost"],
      certificate: "intermediate", isAfterHandshake: true,
      metBy: ["--tls-creds", "PKI:clients/crl-intermediate"]),
    Row(
      line: "min-remaining-days = 3000", words: ["certificate"], isAfterHandshake: true),
    Row(line: "pins = ['\(zeroes)']", status: 77, words: ["pin"], isAfterHandshake: true),
  ]

  /// Of each key there is one that is refused; same-key and data-paths need more than one connection
  /// and a device: LaterConnectionTests, and the guests of KernelTests.
  @Test(arguments: before + after) func isRefused(_ row: Row) throws {
    let place = try TemporaryDirectory()
    let policy = try place.write("strict.toml", "[require]\n\(row.line)\n", mode: 0o644)
    let open = try place.write("open.toml", Self.open, mode: 0o644)
    // What somebody might try to be let through with.
    for more in [[], ["--policy", open], ["--allow-plaintext", "--policy", open]] {
      let server = try serve(row)
      defer { server.stop() }
      let seen = try nbdSecure(
        row.verb + ["--policy", policy] + more + endpoint(server) + resolved(row.options))
      #expect(
        seen.deviations(status: row.status, saying: row.words) == [], "\(row.line), \(more)")
      guard row.isAfterHandshake else {
        #expect(server.connections.isEmpty, "\(row.line), \(more)")
        continue
      }
      #expect(seen.stderr.contains(policy), "policy is not named: \(seen)")
      let record = try server.finished().record
      #expect(record.decrypted.isEmpty, "\(row.line), \(more)")
      #expect(record.plaintext.count == 20, "\(row.line), \(more)")
    }
  }

  @Test(arguments: (before + after).filter { $0.metBy != nil }) func isMet(_ row: Row) throws {
    let place = try TemporaryDirectory()
    let policy = try place.write("strict.toml", "[require]\n\(row.line)\n", mode: 0o644)
    let server = try serve(row)
    defer { server.stop() }
    let seen = try nbdSecure(
      row.verb + ["--policy", policy] + endpoint(server) + resolved(try #require(row.metBy)))
    #expect(seen.status == 0, "\(seen)")
  }

  /// A policy that allows whatever there is.
  private static let open = """
    default = "allow"
    [require]
    plaintext = "allowed"
    authentication = ["x509", "psk"]
    """

  private func serve(_ row: Row) throws -> FakeServer {
    let pki = try PKI.shared.get()
    let place = pki.path("servers/" + row.certificate)
    let identity = TLSServerIdentity.x509(
      certificate: place + "/server-cert.pem", key: place + "/server-key.pem",
      priority: row.priority)
    return try FakeServer(.ipv4) { connection in
      try connection.greet()
      try connection.acceptTLS(identity)
      try connection.expect(Wire.Option.info)
      try connection.send(
        Wire.reply(to: Wire.Option.info, Wire.Reply.info, Wire.exportInfo(size: 1 << 20))
          + Wire.reply(to: Wire.Option.info, Wire.Reply.ack))
    }
  }

  private func endpoint(_ server: FakeServer) -> [String] {
    ["--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(server.port)"]
  }

  private func resolved(_ options: [String]) throws -> [String] {
    let pki = try PKI.shared.get()
    return options.map { $0.hasPrefix("PKI:") ? pki.path(String($0.dropFirst(4))) : $0 }
  }
}
