// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// However what is denied is spelt, not a byte reaches it.
@Suite struct PolicySpellingTests {
  private let pki: PKI
  private let directory: TemporaryDirectory

  init() throws {
    pki = try PKI.shared.get()
    directory = try TemporaryDirectory()
  }

  static let hosts: [[String]] =
    [
      "localhost", "LOCALHOST", "localhost.", "localhost..", "localhost...", ".localhost",
      "local\\104ost", "localhos\\t", "[localhost]", "localhost%lo", "localhost ", "ｌocalhost",
    ].flatMap { name in
      [
        ["--hostname", name, "--address", "127.0.0.1", "--port", "PORT"],
        ["--hostname", name, "--port", "PORT"],
        ["--hostname", "server.example", "--address", name, "--port", "PORT"],
        [
          "--hostname", "server.example", "--address", "127.0.0.1", "--port", "PORT",
          "--tls-hostname", name, "X509",
        ],
      ]
    }
    + ["localhost..", "local%5C104ost", "loc%61lhost", "LOCALHOST", "localhost%2e"].map {
      ["nbds://\($0):PORT/", "--address", "127.0.0.1"]
    }

  @Test(arguments: hosts) func hostIsDenied(_ arguments: [String]) throws {
    try expectSilence(.ipv4, deny: "host = 'localhost'", arguments)
  }

  @Test(arguments: [
    "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0", "0.0.0.0", "0.0", "::", "[::]",
    "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "::ffff:127.0.0.1", "::ffff:7f00:1", "localhost",
    "0.0.0.0.",
  ])
  func addressIsDenied(_ address: String) throws {
    for arguments in [
      ["--hostname", "server.example", "--address", address, "--port", "PORT"],
      ["--hostname", address, "--port", "PORT"],
    ] {
      try expectSilence(.ipv4, deny: "address = ['127.0.0.0/8', '::1']", arguments)
    }
  }

  /// A directory, or the socket itself, has several names.
  @Test(arguments: ["REAL", "LINK", "OTHER"], ["REAL", "LINK", "OTHER"])
  func socketIsDenied(_ denied: String, _ asked: String) throws {
    let server = try FakeServer(.unix) { try $0.greet() }
    defer { server.stop() }
    let real = server.socketPath
    let name = (real as NSString).lastPathComponent
    try FileManager.default.createSymbolicLink(
      atPath: directory.file("link"),
      withDestinationPath: (real as NSString).deletingLastPathComponent)
    try FileManager.default.createSymbolicLink(
      atPath: directory.file("other.sock"), withDestinationPath: real)
    let paths = [
      "REAL": real, "LINK": directory.file("link/\(name)"), "OTHER": directory.file("other.sock"),
    ]
    try expectSilence(
      server, deny: "unix = '\(paths[denied] ?? "")'", ["--unix", paths[asked] ?? ""])
  }

  @Test(arguments: ["link/*.sock", "link/**"]) func patternsOfSocketsGoThroughLinks(
    _ pattern: String
  ) throws {
    let server = try FakeServer(.unix) { try $0.greet() }
    defer { server.stop() }
    try FileManager.default.createSymbolicLink(
      atPath: directory.file("link"),
      withDestinationPath: (server.socketPath as NSString).deletingLastPathComponent)
    try expectSilence(
      server, deny: "unix = '\(directory.file(pattern))'", ["--unix", server.socketPath])
  }

  @Test(arguments: [
    String(repeating: "０", count: 16) + String(repeating: "a", count: 16),
    String(repeating: "a", count: 63) + "é", String(repeating: "a", count: 63),
  ])
  func pinsAreNeverDropped(_ digits: String) throws {
    let server = try FakeServer(.ipv4) { try $0.greet() }
    defer { server.stop() }
    let seen = try nbdSecure(
      "info", "--hostname", "localhost", "--port", "\(server.port)", "--tls-creds",
      pki.trustOnly, "--tls-pin", "sha256:\(digits)")
    #expect(seen.deviations(status: 64, saying: ["--tls-pin"]) == [])
    #expect(server.connections.isEmpty)
  }

  /// Whoever asks for anything that only TLS has asks for TLS.
  @Test(arguments: [
    ["--tls-hostname", "localhost"], ["--tls-min-version", "1.2"], ["--tls-priority", "NORMAL"],
    ["--tls-pin", "sha256:" + String(repeating: "0", count: 64)], ["?tls-type=x509"],
    ["?tls-verify-peer=1"], ["?tls-hostname=localhost"],
  ])
  func tlsOptionsMeanTLS(_ options: [String]) throws {
    let server = try FakeServer(.ipv4) { connection in
      try connection.greet()
      let option = try connection.receiveOption()
      try connection.send(Wire.reply(to: option.number, Wire.Reply.errUnsupported))
    }
    defer { server.stop() }
    let query = options[0].hasPrefix("?") ? options[0] : ""
    let seen = try nbdSecure(
      ["info", "--allow-plaintext", "nbd://localhost:\(server.port)/\(query)"]
        + ["--address", "127.0.0.1"] + (query.isEmpty ? options : []))
    #expect(seen.status == 78, "\(seen)")
    for connection in server.connections {
      let asked = Wire.be(Wire.optionMagic) + Wire.be(Wire.Option.startTLS) + Wire.be(UInt32(0))
      #expect(connection.record.plaintext.dropFirst(4).prefix(16).elementsEqual(asked))
    }
  }

  private func expectSilence(
    _ transport: Transport, deny: String, _ arguments: [String]
  ) throws {
    let server = try FakeServer(transport) { try $0.greet() }
    defer { server.stop() }
    try expectSilence(server, deny: deny, arguments)
  }

  private func expectSilence(
    _ server: FakeServer, deny: String, _ arguments: [String]
  ) throws {
    let policy = try directory.write(
      "policy.toml", "default = 'allow'\n[[rule]]\naction = 'deny'\n\(deny)\n", mode: 0o644)
    let credentials =
      arguments.contains("X509") ? ["--tls-creds", pki.trustOnly] : ["--tls-creds", pki.psk]
    let seen = try nbdSecure(
      ["info", "--connect-timeout", "60", "--policy", policy] + credentials
        + arguments.filter { $0 != "X509" }.map {
          $0.replacingOccurrences(of: "PORT", with: "\(server.port)")
        })
    #expect([64, 68, 69, 78].contains(seen.status), "\(arguments): \(seen)")
    for connection in server.connections {
      #expect(connection.record.wire.isEmpty, "\(arguments): \(connection.record)")
    }
  }
}
