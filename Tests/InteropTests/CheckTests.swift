// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// `check` against real servers, and warnings of what ends soon.
@Suite(.serialized) struct CheckTests {
  private let pki: PKI

  init() throws { pki = try PKI.shared.get() }

  @Test(arguments: [Authentication.x509, .x509WithClientCertificate, .psk])
  func tellsWhatWasProved(_ authentication: Authentication) throws {
    let server = try Server(
      ServerConfiguration(
        .nbdkit, tls: .required(authentication, nil), export: "disk-1",
        exportDescription: "a\u{202e}b"))
    let report = try check(server.endpoint)
    #expect(report.failures.allSatisfy { $0.code == "kernel" }, "\(report.outcome)")
    #expect(report.verdict?.allowed == true)
    #expect(report.verdictWithProof?.allowed == true)
    #expect(report.export?.size == UInt64(server.configuration.size))
    #expect(report.tls?.authentication == (authentication == .psk ? "psk" : "x509"))
    #expect((report.tls?.pin == nil) == (authentication == .psk))
    if let pin = report.tls?.pin {
      // The pin is ready to paste.
      let pasted = report.findings.compactMap { $0.text.firstRange(of: "--tls-pin \(pin)") }
      #expect(pasted.count == 1)
      let pinned = try check(["--tls-pin", pin] + server.endpoint)
      #expect(pinned.export != nil, "\(pinned.outcome)")
    }
    let text = try nbdSecure(["check"] + server.endpoint)
    #expect(text.stdout.contains("export \"disk-1\""))
    #expect(!text.stdout.contains("\u{202e}"))
  }

  @Test func policyAnswersToTheProof() throws {
    let server = try Server(ServerConfiguration(.nbdkit, tls: .required(.x509, .v12)))
    let directory = try TemporaryDirectory()
    let zeroes = "sha256:" + String(repeating: "0", count: 64)
    for (text, status, code) in [
      ("[require]\nmin-remaining-days = 3000\n", 78, "forbidden"),
      ("[require]\npins = [\"\(zeroes)\"]\n", 77, "identity"),
    ] as [(String, Int32, String)] {
      let file = try directory.write("policy.toml", text)
      let report = try check(["--policy", file] + server.endpoint)
      #expect(report.failures.last?.code == code, "\(report.outcome)")
      #expect(report.outcome.status == report.expected(status))
      #expect(report.verdict?.allowed == true)
      #expect(report.export == nil)
    }
  }

  @Test func nothingIsAttachedOrLeft() throws {
    let server = try Server(ServerConfiguration(.nbdkit))
    _ = try check(server.endpoint)
    let left = (try? FileManager.default.contentsOfDirectory(atPath: "/run/nbd-secure")) ?? []
    #expect(left.filter { $0.hasSuffix(".json") } == [])
  }

  /// A server's certificate, an authority and a client's certificate of ten days.
  @Test func endsAreWarnedOf() throws {
    let short = try ShortLived(days: 10)
    let (certificate, key) = (short.file("server-cert.pem"), short.file("server-key.pem"))
    let server = try FakeServer { client in
      try client.greet()
      try client.acceptTLS(.x509(certificate: certificate, key: key))
      try client.expect(Wire.Option.info)
      try client.send(
        Wire.reply(to: Wire.Option.info, Wire.Reply.info, Wire.exportInfo(size: 1 << 20)))
      try client.send(Wire.reply(to: Wire.Option.info, Wire.Reply.ack))
    }
    let arguments = [
      "--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(server.port)",
      "--tls-creds", short.file("client"),
    ]
    let seen = try nbdSecure(["info"] + arguments)
    #expect(seen.status == 0, "\(seen)")
    let warnings = seen.errorLines
    #expect(warnings.count == 3, "\(seen)")
    for (line, name) in zip(
      warnings,
      [
        short.file("client/ca-cert.pem"), short.file("client/client-cert.pem"),
        "localhost:\(server.port) (at 127.0.0.1): the server's certificate CN=short server",
      ])
    {
      #expect(line.hasPrefix("nbd-secure: warning: \(name)"), "\(line)")
      #expect(line.contains(/ends in (9|10) days, on 20\d\d-\d\d-\d\d$/), "\(line)")
    }
    let quiet = try nbdSecure(["info", "--quiet"] + arguments)
    #expect(quiet.stderr.isEmpty)

    let report = try check(arguments)
    let marked = report.findings.filter { $0.mark == "warning" && $0.text.contains("ends in") }
    #expect(marked.map(\.area) == ["credentials", "credentials", "server"], "\(report.outcome)")
  }

  private func check(_ arguments: [String]) throws -> CheckOutput {
    try CheckOutput(nbdSecure(["check", "--json"] + arguments))
  }
}

/// An authority, a server and a client that all end soon.
private struct ShortLived {
  private let directory: TemporaryDirectory

  init(days: Int) throws {
    directory = try TemporaryDirectory()
    _ = try directory.directory("client")
    try issue("client/ca", "cn = \"short authority\"\nca\ncert_signing_key\n", days, "self-signed")
    try issue(
      "server", "cn = \"short server\"\ndns_name = \"localhost\"\ntls_www_server\nsigning_key\n",
      days, "certificate")
    try issue("client/client", "cn = \"c\"\ntls_www_client\nsigning_key\n", days, "certificate")
  }

  func file(_ name: String) -> String { directory.file(name) }

  private func issue(_ name: String, _ template: String, _ days: Int, _ kind: String) throws {
    let form = try directory.write("template", template + "expiration_days = \(days)\n")
    let key = file("\(name)-key.pem")
    try tool(
      "--generate-privkey", "--key-type", "ecdsa", "--curve", "secp256r1", "--outfile", key)
    let issuer =
      kind == "self-signed"
      ? []
      : [
        "--load-ca-certificate", file("client/ca-cert.pem"), "--load-ca-privkey",
        file("client/ca-key.pem"),
      ]
    try tool(
      ["--generate-\(kind)", "--load-privkey", key, "--template", form] + issuer
        + ["--outfile", file("\(name)-cert.pem")])
    // certtool follows the umask of whoever runs the tests.
    chmod(key, 0o600)
    chmod(file("\(name)-cert.pem"), 0o644)
  }

  private func tool(_ arguments: String...) throws { try tool(arguments) }

  private func tool(_ arguments: [String]) throws {
    let made = try run("certtool", arguments)
    guard made.status == 0 else { throw SystemError("certtool", because: made.description) }
  }
}
