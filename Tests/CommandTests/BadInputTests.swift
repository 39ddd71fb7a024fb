// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Mistakes get one line, a hint where it helps, the right exit status, and leave nothing behind.
@Suite struct BadInputTests {
  private let pki: PKI

  init() throws { pki = try PKI.shared.get() }

  @Test(arguments: usageMistakes) func usage(_ mistake: Mistake) throws {
    // Whatever it starts inherits its environment.
    let mark = UUID().uuidString
    let seen = try nbdSecure(mistake.arguments, environment: ["NBD_SECURE_TEST_MARK": mark])
    #expect(
      seen.deviations(status: mistake.status, saying: mistake.saying, hinting: mistake.hinting)
        == [])
    // Another test's may be there for a moment.
    #expect(eventually(within: 5) { leftBehind().isEmpty }, "\(leftBehind())")
    #expect(processes(with: mark) == [])
  }

  @Test(arguments: ["attach", "info", "list"]) func plaintextIsForbiddenBeforeConnecting(
    _ verb: String
  ) throws {
    let server = try FakeServer { try $0.greet() }
    for endpoint in [["nbd://localhost:\(server.port)/"], ["nbd://127.0.0.1:\(server.port)/disk"]] {
      let seen = try nbdSecure([verb] + endpoint)
      #expect(seen.deviations(status: 78, saying: ["plaintext"], hinting: "nbds") == [])
    }
    usleep(200_000)
    #expect(server.connections.isEmpty)
  }

  @Test func tlsSchemeOutranksAllowedPlaintext() throws {
    let server = try Server(ServerConfiguration(.nbdkit, tls: .off))
    let seen = try nbdSecure("info", "--allow-plaintext", "nbds://localhost:\(server.port)/")
    #expect(seen.deviations(status: 78, saying: ["TLS"]) == [])
  }

  @Test func unixSocketWithoutName() throws {
    for (options, status) in [([], 64), (["--tls-hostname", "localhost"], 69)]
      as [([String], Int32)]
    {
      let seen = try nbdSecure(
        ["info", "--unix", "/run/no-such-directory/nbd.sock", "--tls-creds", pki.trustOnly]
          + options)
      #expect(seen.deviations(status: status) == [])
    }
  }

  @Test func pinWithKeysIsUsage() throws {
    let pin = "sha256:" + String(repeating: "0", count: 64)
    let seen = try nbdSecure(
      "info", "--hostname", "localhost", "--port", "1", "--tls-creds", pki.psk, "--tls-pin", pin)
    #expect(seen.deviations(status: 64, saying: ["--tls-pin"]) == [])
  }

  @Test func namedCredentialsThatAreMissing() throws {
    let directory = try TemporaryDirectory()
    let empty = try directory.directory("empty")
    let absent = directory.file("absent")
    for (options, path) in [
      (["--tls-creds", absent], absent), (["--tls-creds", empty], empty),
      (["--psk-file", absent], absent),
      (["--tls-creds", pki.client, "--tls-key-password-file", absent], absent),
    ] {
      let seen = try nbdSecure(["info", "--hostname", "localhost", "--port", "1"] + options)
      #expect(seen.deviations(status: 66, saying: [path]) == [])
    }
  }

  @Test func bothKindsOfCredentialsInOneDirectory() throws {
    let directory = try TemporaryDirectory()
    try directory.write(
      "ca-cert.pem", try String(contentsOfFile: pki.trustOnly + "/ca-cert.pem", encoding: .utf8))
    try directory.write("keys.psk", try String(contentsOfFile: pki.pskFile, encoding: .utf8))
    let seen = try nbdSecure(
      "info", "--hostname", "localhost", "--port", "1", "--tls-creds", directory.path)
    #expect(
      seen.deviations(status: 66, saying: [directory.path, "keys.psk"], hinting: "--psk-file") == []
    )
  }

  @Test func unreachableServers() throws {
    let port = try freePort()
    let to = ["--port", "\(port)", "--tls-creds", pki.trustOnly]
    let refused = try nbdSecure(["info", "--hostname", "localhost"] + to)
    #expect(refused.deviations(status: 69, saying: ["localhost", "refused"]) == [])
    let socket = try nbdSecure(
      "info", "--unix", "/nonexistent/nbd.sock", "--tls-hostname", "localhost", "--tls-creds",
      pki.trustOnly)
    #expect(socket.deviations(status: 69, saying: ["/nonexistent/nbd.sock"]) == [])
    // The system's resolver knows without asking anybody that no name begins so.
    let unknown = try nbdSecure(
      ["info", "--hostname=-a.example"] + to)
    #expect(unknown.deviations(status: 68, saying: ["-a.example"]) == [])
  }

  @Test func silentServersMeetTheDeadline() throws {
    let server = try FakeServer { $0.pause(8) }
    let seen = try nbdSecure(
      "info", "--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(server.port)",
      "--tls-creds", pki.trustOnly, "--connect-timeout", "1")
    // Whatever the patience: less than the 30 s of those who name none.
    #expect(seen.deviations(status: 75, saying: ["localhost"], within: 25 / patience) == [])
    #expect(seen.seconds >= 0.9)
  }

  @Test func controlCharactersStayInTheLine() throws {
    let seen = try nbdSecure(
      "info", "--hostname", "local\u{1b}[31mhost\nnbd-secure: all is well", "--port", "1",
      "--tls-creds", pki.trustOnly)
    #expect(seen.status != 0)
    #expect(seen.errorLines.filter { $0.hasPrefix("nbd-secure: ") }.count == 1, "\(seen)")
    #expect(!seen.stderr.contains("\u{1b}"))
  }

  @Test(arguments: [
    ["info", "nbds://user:SECRET@localhost/"],
    ["attach", "--config", "x", "nbds://user:SECRET@h/"],
    ["info", "nbds://h/", "nbds://user:SECRET@h/"], ["info", "nbds://u:SECRET@h:x/%zz"],
  ]) func secretsAreNotEchoed(_ arguments: [String]) throws {
    let seen = try nbdSecure(arguments)
    #expect(seen.deviations(status: 64) == [])
    #expect(!seen.stderr.contains("SECRET"), "\(seen)")
  }

  @Test func longExportNamesDoNotHideTheReason() throws {
    let seen = try nbdSecure("info", "nbds://localhost/" + String(repeating: "x", count: 5000))
    #expect(seen.deviations(status: 64, saying: ["4096"]) == [])
    #expect(seen.errorLines.allSatisfy { $0.count < 500 }, "\(seen)")
  }

  @Test func passwordFilesWithoutAKey() throws {
    let absent = ["--tls-key-password-file", "/nonexistent/password"]
    let trust = try nbdSecure(
      ["info", "--hostname", "localhost", "--port", "1", "--tls-creds", pki.trustOnly] + absent)
    #expect(trust.deviations(status: 64, saying: ["--tls-key-password-file", pki.trustOnly]) == [])
    try needsNoCredentialsOfTheHost()
    let system = try nbdSecure(
      ["info", "--hostname", "localhost", "--port", "1"] + absent,
      environment: ["XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent"])
    #expect(
      system.deviations(
        status: 64, saying: ["--tls-key-password-file"], hinting: "--tls-creds") == [])
  }

  @Test func bracketsAroundAnAddress() throws {
    let port = try freePort()
    let seen = try nbdSecure(
      "info", "--hostname", "localhost", "--address", "[::1]", "--port", "\(port)", "--tls-creds",
      pki.trustOnly)
    #expect(seen.deviations(status: 69, saying: ["::1"]) == [])
  }

  @Test func timesAreTracedWhenAskedForTwice() throws {
    let to = [
      "--hostname", "localhost", "--port", "\(try freePort())", "--tls-creds", pki.trustOnly,
    ]
    let once = try nbdSecure(["info", "-v"] + to)
    #expect(once.stderr.hasPrefix("connecting to "), "\(once)")
    let twice = try nbdSecure(["info", "-vv"] + to)
    #expect(twice.stderr.firstMatch(of: #/^[0-9]+\.[0-9]{3} connecting to /#) != nil, "\(twice)")
  }

  @Test func jsonVerbsFailTheSameWay() throws {
    for verb in ["list", "info"] {
      let seen = try nbdSecure(verb, "--json", "--hostname", "localhost", "--port", "99999")
      #expect(seen.deviations(status: 64, saying: ["port"]) == [])
    }
  }

  /// What attachments of this machine would have: states, locks, counters.
  private func leftBehind() -> [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: "/run/nbd-secure")) ?? []
  }

  /// Processes with that in their environment.
  private func processes(with mark: String) -> [String] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.filter { pid in
      guard pid.allSatisfy(\.isNumber),
        let values = FileManager.default.contents(atPath: "/proc/\(pid)/environ")
      else { return false }
      return values.range(of: Data(mark.utf8)) != nil
    }
  }
}
