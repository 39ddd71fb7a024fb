// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Key material stays in the files it is in: it is on no command line, in no environment, in no
/// output however verbose, and in no core dump.
@Suite(.serialized) struct SecretTests {
  private let pki: PKI
  private static let password = "opensesame"

  init() throws { pki = try PKI.shared.get() }

  /// Text that must be nowhere: keys in hexadecimal, lines of PEM files, the password.
  private func secrets() throws -> [String] {
    var secrets = [Self.password]
    for file in ["psk/keys.psk", "psk-several/keys.psk", "psk-wrong/keys.psk"] {
      let lines = try String(contentsOfFile: pki.path(file), encoding: .utf8).split(separator: "\n")
      let keys = try lines.map { try #require($0.split(separator: ":").last).lowercased() }
      // Half of a key is too much as well.
      for key in keys { secrets += [String(key.prefix(16)), String(key.suffix(16))] }
    }
    for file in ["clients/good/client-key.pem", "clients/encrypted/client-key.pem"] {
      let lines = try String(contentsOfFile: pki.path(file), encoding: .utf8).split(separator: "\n")
      secrets += lines.filter { !$0.hasPrefix("-") && $0.count >= 20 }.map { $0.lowercased() }
    }
    #expect(secrets.count > 12)
    return secrets
  }

  private func leaks(in text: String) throws -> [String] {
    let text = text.lowercased()
    return try secrets().filter { text.contains($0) }
  }

  private enum Kind: CaseIterable {
    case psk, encryptedKey

    func options(_ pki: PKI) -> [String] {
      switch self {
      case .psk: ["--tls-creds", pki.psk]
      case .encryptedKey:
        [
          "--tls-creds", pki.path("clients/encrypted"), "--tls-key-password-file",
          pki.path("clients/encrypted/password"),
        ]
      }
    }

    var server: ServerConfiguration {
      ServerConfiguration(
        .nbdkit, tls: .required(self == .psk ? .psk : .x509WithClientCertificate, nil))
    }
  }

  /// The search finds what is there.
  @Test func leaksWouldBeSeen() throws {
    let key = try String(contentsOfFile: pki.pskFile, encoding: .utf8)
    #expect(try !leaks(in: key.uppercased()).isEmpty)
    #expect(try !leaks(in: "password \(Self.password)").isEmpty)
  }

  @Test func outputHasNone() throws {
    for kind in Kind.allCases {
      let server = try Server(kind.server)
      for verb in [["info"], ["info", "--json"], ["list"], ["check"], ["check", "--json"]] {
        let seen = try nbdSecure(verb + ["-vvv"] + server.address + kind.options(pki))
        #expect([0, 71].contains(seen.status), "\(seen)")
        #expect(try leaks(in: seen.stdout + seen.stderr) == [])
      }
    }
  }

  /// Whoever sets the environment gets no key out of the TLS library.
  @Test(arguments: [TLSVersion.v12, .v13]) func theEnvironmentAsksInVain(
    _ version: TLSVersion
  ) throws {
    let directory = try TemporaryDirectory()
    let environment = ["SSLKEYLOGFILE": directory.file("keys"), "GNUTLS_DEBUG_LEVEL": "99"]
    for authentication in [Authentication.x509, .psk] {
      let server = try Server(
        ServerConfiguration(.nbdkit, tls: .required(authentication, version)))
      let arguments = ["info", "-vvv"] + server.address + server.credentials
      let seen = try nbdSecure(arguments, environment: environment)
      #expect(seen.status == 0, "\(seen)")
      // The library speaks before the program does, and then no more.
      let trace = try #require(seen.stderr.range(of: "connecting to "), "\(seen)")
      #expect(!seen.stderr[trace.lowerBound...].contains("gnutls["), "\(seen)")
      #expect(try leaks(in: seen.stdout + seen.stderr) == [])
      #expect(access(directory.file("keys"), F_OK) != 0)
      // Another program of the same library obeys: this check can fail.
      let other = try run("/usr/bin/gnutls-cli", ["--list"], environment: environment)
      #expect(other.stderr.contains("gnutls["), "\(other.stderr.prefix(400))")
    }
  }

  /// Not in what is said of mistakes either.
  @Test func complaintsHaveNone() throws {
    let directory = try TemporaryDirectory()
    let key = "0123456789abcdeffedcba9876543210"
    for (number, line) in [
      "alice:\(key)x", "alice\(key)", "alice:\(key)\nalice:\(key)", "\(key)\n", ":\(key)",
      "alice: \(key)",
    ].enumerated() {
      let file = try directory.write("\(number).psk", line + "\n")
      for verb in ["info", "check"] {
        let seen = try nbdSecure(
          verb, "-vvv", "--psk-file", file, "--hostname", "localhost", "--port", "1")
        #expect([66, 71].contains(seen.status), "\(seen)")
        #expect(!(seen.stdout + seen.stderr).contains(key.prefix(16)), "\(seen)")
      }
    }
    for password in ["wrong-password", "absent"] {
      let seen = try nbdSecure(
        "info", "-vvv", "--hostname", "localhost", "--port", "1", "--tls-creds",
        pki.path("clients/encrypted"), "--tls-key-password-file",
        pki.path("clients/encrypted/\(password)"))
      #expect(seen.status == 66)
      #expect(!seen.stderr.contains("openbarley"))
    }
  }

  @Test func runningProcessesShowNone() throws {
    for kind in Kind.allCases {
      let server = try Server(kind.server)
      let directory = try TemporaryDirectory()
      let proxy = try ChildProcess(
        nbdSecurePath,
        ["proxy", "-vvv", "--listen", directory.file("nbd.sock")] + server.address
          + kind.options(pki), log: directory.file("log"))
      #expect(eventually(within: 20) { access(directory.file("nbd.sock"), F_OK) == 0 })
      #expect(try leaks(in: content("/proc/\(proxy.pid)/cmdline")) == [])
      // To anybody but root the environment is closed, which is as well.
      let environment = try? content("/proc/\(proxy.pid)/environ")
      #expect(environment?.contains("PATH=") ?? (geteuid() != 0))
      #expect(try leaks(in: environment ?? "") == [])
      let limits = try content("/proc/\(proxy.pid)/limits")
      #expect(limits.contains(#/Max core file size +0 +0/#), "\(limits)")
      proxy.stop()
      #expect(try leaks(in: proxy.log) == [])
      #expect(proxy.log.contains("STARTTLS"), "the trace was not on: \(proxy.log)")
    }
  }

  /// Of a process that must not be dumped, /proc's files belong to root (proc(5)), whoever runs it.
  @Test(arguments: ["info", "proxy"]) func processesAreNotDumpable(_ verb: String) throws {
    let silent = try FakeServer { connection in connection.pause(60) }
    let directory = try TemporaryDirectory()
    let program = directory.file("nbd-secure")
    try copyProgram(to: program)
    try FileManager.default.createDirectory(
      atPath: directory.file("pki"), withIntermediateDirectories: false)
    try FileManager.default.copyItem(
      atPath: pki.trustOnly + "/ca-cert.pem", toPath: directory.file("pki/ca-cert.pem"))
    for path in [directory.path, program, directory.file("pki")] { chmod(path, 0o755) }
    chmod(directory.file("pki/ca-cert.pem"), 0o644)
    let arguments =
      [
        verb, "--hostname", "127.0.0.1", "--port", "\(silent.port)", "--tls-creds",
        directory.file("pki"),
      ] + (verb == "proxy" ? ["--listen", directory.file("nbd.sock")] : [])
    let ours = try unprivileged(program, arguments, log: directory.file("log"))
    let other = try unprivileged("/bin/sleep", ["600"], log: directory.file("other"))
    #expect(eventually(within: 10) { !silent.connections.isEmpty }, "\(ours.log)")
    #expect(try owner("/proc/\(ours.pid)/environ") == 0)
    // The same look at a process that may be dumped: this check can fail.
    // It is root's until setpriv has become it.
    #expect(try eventually { try owner("/proc/\(other.pid)/environ") != 0 })
  }

  private func unprivileged(
    _ program: String, _ arguments: [String], log: String
  ) throws -> ChildProcess {
    guard geteuid() == 0 else { return try ChildProcess(program, arguments, log: log) }
    return try ChildProcess(
      "/usr/bin/setpriv",
      ["--reuid", "65534", "--regid", "65534", "--clear-groups", program] + arguments, log: log)
  }

  private func owner(_ path: String) throws -> uid_t {
    var facts = stat()
    guard stat(path, &facts) == 0 else { throw SystemError("stat \(path)") }
    return facts.st_uid
  }

  private func content(_ path: String) throws -> String {
    // Files of /proc have no size to read by.
    let seen = try run("/bin/cat", [path])
    guard seen.status == 0 else { throw SystemError(path, because: seen.description) }
    return seen.stdout
  }
}
