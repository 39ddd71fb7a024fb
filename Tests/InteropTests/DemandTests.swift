// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Where TLS comes to nothing, the hint names whoever demanded what could not be had.
@Suite struct DemandTests {
  private let pki: PKI

  init() throws { pki = try PKI.shared.get() }

  @Test func pinsOfPolicyNameTheirFile() throws {
    let server = try Server(ServerConfiguration(.nbdkit))
    let directory = try TemporaryDirectory()
    let pin = "sha256:" + String(repeating: "0", count: 64)
    let file = try directory.write("policy.toml", "[require]\npins = [\"\(pin)\"]\n")
    let seen = try nbdSecure(
      ["info", "--tls-creds", pki.trustOnly, "--policy", file] + server.address)
    #expect(seen.deviations(status: 77, hinting: file) == [])
    let named = try nbdSecure(
      ["info", "--tls-creds", pki.trustOnly, "--tls-pin", pin] + server.address)
    #expect(named.deviations(status: 77, hinting: "pin that") == [])
  }

  @Test func prioritiesThatPolicyLeavesNothingOf() throws {
    let directory = try TemporaryDirectory()
    let file = try directory.write(
      "policy.toml", "[require]\nciphers = [\"CHACHA20-POLY1305\"]\n")
    let seen = try nbdSecure(
      "info", "--tls-creds", pki.trustOnly, "--policy", file, "--hostname", "localhost", "--port",
      "1", "--tls-priority", "NORMAL:-CIPHER-ALL:+AES-256-GCM")
    #expect(seen.deviations(status: 64, saying: ["--tls-priority"], hinting: file) == [])
  }

  /// nbdkit closes the connection without an alert.
  @Test func oldServersAgainstNewDemands() throws {
    let server = try Server(ServerConfiguration(.nbdkit, tls: .required(.x509, .v12)))
    let seen = try nbdSecure(
      ["info", "--tls-creds", pki.trustOnly, "--tls-min-version", "1.3"] + server.address)
    #expect(seen.deviations(status: 76, hinting: "--tls-min-version 1.3") == [])
  }

  @Test func certificatesForAServerOfKeys() throws {
    let server = try Server(ServerConfiguration(.nbdkit, tls: .required(.psk, nil)))
    let seen = try nbdSecure(["info", "--tls-creds", pki.trustOnly] + server.address)
    #expect(seen.deviations(status: 76, hinting: "--psk-file") == [], "\(seen)")
  }

  @Test func serversThatAreGoing() throws {
    let server = try FakeServer { connection in
      try connection.greet()
      let option = try connection.receiveOption()
      try connection.send(Wire.reply(to: option.number, Wire.Reply.errShutdown))
    }
    let seen = try nbdSecure(
      "info", "--tls-creds", pki.trustOnly, "--hostname", "localhost", "--address", "127.0.0.1",
      "--port", "\(server.port)")
    #expect(seen.deviations(status: 78, saying: ["SHUTDOWN"], hinting: "try again") == [])
  }

  @Test func credentialsThatNobodyNamed() throws {
    let server = try Server(ServerConfiguration(.nbdkit, tls: .off))
    let directory = try TemporaryDirectory()
    try FileManager.default.createDirectory(
      atPath: directory.file("nbd-secure"), withIntermediateDirectories: false)
    try FileManager.default.copyItem(
      atPath: pki.trustOnly, toPath: directory.file("nbd-secure/pki"))
    let seen = try nbdSecure(
      ["info", "--allow-plaintext"] + server.address,
      environment: ["XDG_CONFIG_HOME": directory.path])
    #expect(seen.deviations(status: 78, hinting: directory.file("nbd-secure/pki")) == [])
  }
}
