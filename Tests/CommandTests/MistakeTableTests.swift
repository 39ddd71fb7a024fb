// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Mistakes that people make, and word for word what the program says of each: `Tests/Mistakes/commands`.
/// A line `$ ARGUMENTS` is followed by the exit status and by all that standard error shows. Names in
/// braces stand for what differs from run to run. With NBD_SECURE_RECORD=1 the table is written anew,
/// to be read before it is committed.
@Suite struct MistakeTableTests {
  private static let file = repository + "/Tests/Mistakes/commands"
  private let pki: PKI
  private let directory: TemporaryDirectory
  private let servers: [String: Server]
  /// What the names in braces stand for.
  private let values: [(name: String, value: String)]

  init() throws {
    pki = try PKI.shared.get()
    directory = try TemporaryDirectory()
    try Self.fill(directory, pki)
    var servers: [String: Server] = [:]
    func start(_ name: String, _ configuration: ServerConfiguration) throws {
      servers[name] = try Server(configuration)
    }
    try start(
      "server",
      ServerConfiguration(.nbdkit, tls: .required(.x509WithClientCertificate, nil), export: ""))
    try start("plain", ServerConfiguration(.nbdkit, tls: .off))
    try start("keys", ServerConfiguration(.nbdkit, tls: .required(.psk, nil)))
    for certificate in ["expired", "not-yet-valid", "wrong-name", "self-signed", "revoked"] {
      let own = pki.path("servers/\(certificate)")
      try start(
        certificate, ServerConfiguration(.nbdkit, arguments: ["--tls-certificates=\(own)"]))
    }
    try start(
      "named", ServerConfiguration(.qemuNBD, tls: .required(.x509, nil), export: "disk-1"))
    self.servers = servers
    let ports = servers.map { ("\($0.key)", "\($0.value.port)") }.sorted { $0.0 < $1.0 }
    values =
      [("dir", directory.path), ("pki", pki.root), ("closed", "\(try freePort())")] + ports
  }

  /// Files that are wrong in one way each.
  private static func fill(_ directory: TemporaryDirectory, _ pki: PKI) throws {
    let authority = try String(contentsOfFile: pki.trustOnly + "/ca-cert.pem", encoding: .utf8)
    let certificate = try String(
      contentsOfFile: pki.client + "/client-cert.pem", encoding: .utf8)
    let key = try String(contentsOfFile: pki.client + "/client-key.pem", encoding: .utf8)
    let keys = try String(contentsOfFile: pki.pskFile, encoding: .utf8)
    try directory.directory("empty")
    func fill(_ name: String, _ files: [(String, String, mode_t)]) throws {
      try directory.directory(name, mode: 0o700)
      for (file, text, mode) in files { try directory.write("\(name)/\(file)", text, mode: mode) }
    }
    let ca = ("ca-cert.pem", authority, mode_t(0o644))
    try fill("both", [ca, ("keys.psk", keys, 0o600)])
    try fill("no-key", [ca, ("client-cert.pem", certificate, 0o644)])
    try fill("no-certificate", [ca, ("client-key.pem", key, 0o600)])
    try fill(
      "open-key", [ca, ("client-cert.pem", certificate, 0o644), ("client-key.pem", key, 0o644)])
    try fill("rubbish", [("ca-cert.pem", "not a certificate\n", 0o644)])
    try fill("void", [("ca-cert.pem", "", 0o644)])
    try directory.write("open.psk", keys, mode: 0o644)
    try directory.write("empty.psk", "", mode: 0o600)
    try directory.write("odd.psk", "alice:abc\n", mode: 0o600)
    try directory.write("two.psk", "alice:00112233445566778899aabbccddeeff\nbob:0011223344556677\n")
    try directory.write("disk.img", [UInt8](repeating: 1, count: 4096))
    try directory.write("wrong.toml", "hostname = 'localhost'\ncolour = 'blue'\n", mode: 0o644)
    try directory.write("open.toml", "hostname = 'localhost'\n", mode: 0o666)
    try directory.write("deny.toml", "default = 'deny'\n", mode: 0o644)
    try directory.write("rule.toml", "[[rule]]\naction = 'perhaps'\n", mode: 0o644)
    try directory.write("nbdtab", "nbd0 host\n", mode: 0o644)
  }

  private func real(_ text: some StringProtocol) -> String {
    if text == "''" { return "" }
    return values.reduce(String(text)) { $0.replacing("{\($1.name)}", with: $1.value) }
  }

  /// The text with names in place of what differs from run to run.
  private func general(_ text: String) -> String {
    var text = text
    text.replace(/\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d UTC)?/, with: "{date}")
    text.replace(/serial number [0-9a-f]+/, with: "serial number {serial}")
    text.replace(/sha256:[0-9a-f]{64}/, with: "sha256:{hex}")
    // Last: the digits of a port may be among those of a number.
    for (name, value) in values { text = text.replacing(value, with: "{\(name)}") }
    return text
  }

  @Test func everyMistakeGetsItsWords() throws {
    let table = try String(contentsOfFile: Self.file, encoding: .utf8)
    let comments = table.split(separator: "\n", omittingEmptySubsequences: false)
      .prefix { $0.hasPrefix("#") || $0.isEmpty }.joined(separator: "\n")
    var entries: [(command: String, said: String)] = []
    for block in table.dropFirst(comments.count).split(separator: "\n$ ") {
      let lines = block.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
      let command = String(lines[0].trimmingPrefix("$ "))
      entries.append((command, lines.count > 1 ? String(lines[1]) : ""))
    }
    #expect(entries.count >= 50)
    var now = comments + "\n"
    for (command, said) in entries {
      let arguments = command.split(separator: " ").map { real($0) }
      let seen = try nbdSecure(
        arguments, environment: ["XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent"])
      let words = general("\(seen.status)\n" + seen.stderr)
      now += "\n$ \(command)\n\(words)"
      #expect(seen.stdout.isEmpty, "\(command): \(seen)")
      #expect(words.trimmed == said.trimmed, "\(command)")
    }
    if ProcessInfo.processInfo.environment["NBD_SECURE_RECORD"] != nil {
      try now.write(toFile: Self.file, atomically: true, encoding: .utf8)
    }
  }
}

extension String {
  fileprivate var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
