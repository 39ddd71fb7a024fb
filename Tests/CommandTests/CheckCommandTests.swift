// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// `check`: what would happen, before it happens.
@Suite struct CheckCommandTests {
  private let pki: PKI

  init() throws { pki = try PKI.shared.get() }

  @Test func hostAloneNeedsNoServer() throws {
    let report = try check("--tls-creds", pki.client)
    #expect(report.endpoint == nil)
    #expect(report.export == nil)
    #expect(report.failures.allSatisfy { $0.code == "kernel" }, "\(report.outcome)")
    #expect(report.kernel?.kernelTLS.count == 6)
    #expect(report.policy?.files.isEmpty == false)
    let files = try #require(report.credentials?.files)
    #expect(files.map(\.role) == ["trustAnchors", "clientCertificate", "clientKey"])
    #expect(files.map(\.mode) == ["600", "600", "600"])
    let own = try #require(files[1].certificates.first)
    #expect(own.subject == "CN=test client")
    #expect(own.issuer == "CN=nbd-secure test authority")
    #expect((363...365).contains(own.daysLeft))
    #expect(files[2].keyType == "EC/ECDSA 256")
    #expect(report.credentials?.origin == "named")
  }

  @Test func sourcesAreNamed() throws {
    let directory = try TemporaryDirectory()
    let home = ["XDG_CONFIG_HOME": directory.path]
    try FileManager.default.createDirectory(
      atPath: directory.file("nbd-secure"), withIntermediateDirectories: false)
    try FileManager.default.copyItem(
      atPath: pki.psk, toPath: directory.file("nbd-secure/pki"))
    let found = try check([], environment: home)
    #expect(found.credentials?.origin == "defaultDirectory")
    #expect(found.credentials?.kind == "psk")
    #expect(found.credentials?.files.first?.chosenIdentity == "alice")
    let nowhere = ["XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent"]
    try needsNoCredentialsOfTheHost()
    let system = try check([], environment: nowhere)
    #expect(system.credentials?.kind == "systemTrust")
    #expect(system.credentials?.origin == "nothingFound")
    let plain = try check(["--allow-plaintext"], environment: nowhere)
    #expect(plain.credentials?.kind == "none")
    #expect(plain.marks("credentials") == ["warning"])
  }

  @Test(arguments: [
    ("clients/expired", "expired on 2021-01-01"), ("clients/mismatch", "client-key.pem"),
    ("clients/crl-expired", "ca-crl.pem"), ("clients/not-a-ca", "authority"),
    ("clients/other-ca", "vouch"), ("missing", "no such directory"),
  ])
  func brokenCredentialsAreNamed(_ directory: String, _ text: String) throws {
    let report = try check("--tls-creds", pki.path(directory))
    let failure = try #require(report.failures.first { $0.code == "credentials" })
    #expect(failure.summary.contains(text), "\(report.outcome)")
    #expect(failure.summary.contains(pki.path(directory)))
    #expect(report.outcome.status == report.expected(66))
    // Attach would say the very same.
    let info = try nbdSecure(
      "info", "--hostname", "localhost", "--port", "1", "--tls-creds", pki.path(directory))
    #expect(info.deviations(status: 66, saying: [failure.summary]) == [])
  }

  @Test func everythingWrongIsTold() throws {
    let directory = try TemporaryDirectory()
    for name in ["ca-cert.pem", "client-cert.pem", "client-key.pem"] {
      try FileManager.default.copyItem(
        atPath: pki.path("clients/expired/\(name)"), toPath: directory.file(name))
    }
    try directory.write("ca-crl.pem", "no list\n")
    let bad = try directory.write("policy.toml", "no-such-key = 1\n")
    let report = try check("--tls-creds", directory.path, "--policy", bad)
    #expect(
      report.failures.map(\.code).filter { $0 != "kernel" }
        == ["credentials", "credentials", "forbidden"], "\(report.outcome)")
    // The files that can be read are described all the same.
    #expect(report.credentials?.files.map(\.role).contains("clientCertificate") == true)
  }

  @Test func unknownHostsAndSilentPorts() throws {
    // The system's resolver knows without asking anybody that no name begins so.
    let unknown = try check("--hostname=-a.example", "--tls-creds", pki.trustOnly)
    #expect(unknown.failures.last?.code == "unknownHost", "\(unknown.outcome)")
    #expect(unknown.outcome.status == unknown.expected(68))
    let port = try freePort()
    let refused = try check(
      "--hostname", "localhost", "--port", "\(port)", "--tls-creds", pki.trustOnly)
    #expect(refused.failures.last?.code == "unavailable", "\(refused.outcome)")
    #expect(refused.outcome.status == refused.expected(69))
  }

  @Test func plaintextURIsAreForbidden() throws {
    let report = try check(
      ["nbd://localhost:1/"],
      environment: ["XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent"])
    try needsNoCredentialsOfTheHost()
    #expect(report.credentials == nil)
    #expect(report.failures.first?.code == "forbidden", "\(report.outcome)")
    #expect(report.outcome.status == 78)
  }

  @Test func policyRefusesBeforeConnecting() throws {
    let directory = try TemporaryDirectory()
    let file = try directory.write("policy.toml", "default = \"deny\"\n")
    let server = try FakeServer { try $0.greet() }
    let report = try check(
      "--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(server.port)",
      "--tls-creds", pki.trustOnly, "--policy", file)
    #expect(report.verdict?.allowed == false)
    #expect(report.failures.last?.code == "forbidden", "\(report.outcome)")
    #expect(report.outcome.status == report.expected(78))
    usleep(100_000)
    #expect(server.connections.isEmpty)
  }

  @Test func usageIsUsage() throws {
    for options in [
      ["--hostname", "localhost", "--device", "sda"], ["--port", "99999", "--unix", "/x"],
    ] {
      let seen = try nbdSecure(["check"] + options)
      #expect(seen.deviations(status: 64) == [])
    }
  }

  @Test func textIsMarkedLineByLine() throws {
    let seen = try nbdSecure("check", "--tls-creds", pki.path("clients/expired"))
    let lines = seen.stdout.split(separator: "\n")
    #expect(lines.contains("credentials"))
    #expect(lines.contains { $0.hasPrefix("  ok    ") && $0.contains("ca-cert.pem (mode 600)") })
    #expect(lines.contains { $0.hasPrefix("  FAIL  ") && $0.contains("client-cert.pem") })
    #expect(lines.contains { $0.hasPrefix("  -     certificates in ") })
    #expect(lines.last?.hasPrefix("attach would fail: ") == true)
    #expect(seen.stderr.isEmpty)
  }

  private func check(_ arguments: String...) throws -> CheckOutput { try check(arguments) }

  private func check(
    _ arguments: [String], environment: [String: String] = [:]
  ) throws -> CheckOutput {
    try CheckOutput(nbdSecure(["check", "--json"] + arguments, environment: environment))
  }
}
