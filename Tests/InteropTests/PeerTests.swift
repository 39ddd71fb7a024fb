// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// What the README says of other clients, held against them as they are installed here.
@Suite(.serialized) struct PeerTests {
  private let pki: PKI

  init() throws { pki = try PKI.shared.get() }

  /// A cell of the README's table "Beside the others".
  private func cell(_ row: String, _ column: String) throws -> String {
    let text = try String(contentsOfFile: repository + "/README.md", encoding: .utf8)
    let table = text.split(separator: "\n")
      .drop { $0 != "## Beside the others" }.filter { $0.hasPrefix("|") }
      .map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
    let heads = try #require(table.first)
    let line = try #require(table.first { $0.first == row }, "\(row)")
    #expect(line.count == heads.count + (heads.first == "nbd-secure" ? 1 : 0), "\(line)")
    let index = try #require(heads.firstIndex(of: column)) + line.count - heads.count
    return line[index]
  }

  /// A server with another certificate of the test authority's set.
  private func server(_ certificate: String) throws -> Server {
    try Server(
      ServerConfiguration(
        .nbdkit, export: "",
        arguments: ["--tls-certificates=\(pki.path("servers/\(certificate)"))"]))
  }

  private func nbdinfo(_ server: Server, _ directory: String?) throws -> Outcome {
    let query = directory.map { "?tls-certificates=\($0)" } ?? ""
    return try run("nbdinfo", ["--size", "nbds://localhost:\(server.port)/\(query)"])
  }

  private func qemu(_ port: Int, _ directory: String, limit: Double = 20 * patience) throws
    -> Outcome
  {
    try run(
      "qemu-img",
      [
        "info", "--object", "tls-creds-x509,id=t,endpoint=client,dir=\(directory)", "--image-opts",
        "driver=nbd,host=localhost,port=\(port),tls-creds=t",
      ], timeout: limit)
  }

  private func nbdClient(_ port: Int, _ more: [String], limit: Double = 20 * patience) throws
    -> Outcome
  {
    try run("/usr/sbin/nbd-client", ["-l", "localhost", "\(port)"] + more, timeout: limit)
  }

  private func ours(_ server: Server, _ directory: String) throws -> Outcome {
    try nbdSecure(
      ["info", "--hostname", "localhost", "--port", "\(server.port)", "--tls-creds", directory])
  }

  @Test func verification() throws {
    let row = "Verifies unless told otherwise"
    let stranger = try server("wrong-name")
    #expect(try ours(stranger, pki.trustOnly).status == 77)
    #expect(try cell(row, "nbd-secure") == "yes")

    #expect(try cell(row, "nbd-client").contains("`-x` alone verifies nothing"))
    #expect(try nbdClient(stranger.port, ["-x"]).status == 0)
    let authority = ["-cacertfile", pki.trustOnly + "/ca-cert.pem", "-tlshostname", "localhost"]
    #expect(try nbdClient(stranger.port, ["-x"] + authority).status != 0)

    #expect(try cell(row, "qemu-nbd") == "yes")
    #expect(try qemu(stranger.port, pki.trustOnly).status == 1)

    let selfSigned = try server("self-signed")
    #expect(try nbdinfo(selfSigned, pki.trustOnly).status == 1)
    #expect(try nbdinfo(stranger, pki.trustOnly).status == 1)
    let version = try run("nbdinfo", ["--version"]).stdout
    // Later ones are mended: the README has to say so then.
    try #require(version.contains("libnbd 1.14."), "the README speaks of 1.14: \(version)")
    #expect(
      try cell(row, "libnbd's tools").contains(
        "nothing where no directory is named, or a missing one (1.14"))
    #expect(try nbdinfo(selfSigned, nil).status == 0)
    #expect(try nbdinfo(selfSigned, "/nonexistent").status == 0)
    #expect(try ours(selfSigned, "/nonexistent").status == 66)
  }

  @Test func revocation() throws {
    let row = "Revocation lists"
    let revoked = try server("revoked")
    let list = pki.path("clients/crl")
    let good = try server("good")
    #expect(try cell(row, "nbd-secure") == "yes")
    #expect(try ours(revoked, list).status == 77)
    #expect(try ours(good, list).status == 0)
    #expect(try cell(row, "libnbd's tools") == "yes")
    #expect(try nbdinfo(revoked, list).status == 1)
    #expect(try nbdinfo(good, list).status == 0)
    #expect(try cell(row, "qemu-nbd") == "as server; the client ignores them")
    #expect(try qemu(revoked.port, list).status == 0)
    #expect(try cell(row, "nbd-client") == "no")
    #expect(
      try nbdClient(
        revoked.port, ["-x", "-cacertfile", list + "/ca-cert.pem", "-tlshostname", "localhost"]
      ).status == 0)
  }

  /// A server that accepts, and never says a word.
  @Test func deadlines() throws {
    let row = "Deadline on the handshake"
    let silent = try Listener(.ipv4)
    let began = Date()
    let seen = try nbdSecure([
      "info", "--hostname", "localhost", "--port", "\(silent.port)", "--tls-creds", pki.trustOnly,
      "--connect-timeout", "1",
    ])
    #expect(seen.status == 75 && Date().timeIntervalSince(began) < 30, "\(seen)")
    #expect(try cell(row, "nbd-secure") == "yes")
    for (name, outcome) in [
      ("nbd-client", try nbdClient(silent.port, ["-x"], limit: 3)),
      ("qemu-nbd", try qemu(silent.port, pki.trustOnly, limit: 3)),
      (
        "libnbd's tools",
        try run("nbdinfo", ["nbds://localhost:\(silent.port)"], timeout: 3)
      ),
    ] {
      #expect(try cell(row, name) == "no")
      // Killed, since its time was over.
      #expect(outcome.status == -1 && outcome.seconds >= 2.5, "\(name): \(outcome)")
    }
  }

  @Test func preSharedKeys() throws {
    let server = try Server(ServerConfiguration(.nbdkit, tls: .required(.psk, nil), export: ""))
    let row = "Pre-shared keys"
    #expect(try cell(row, "nbd-client") == "no")
    #expect(try nbdClient(server.port, ["-x"]).status != 0)
    let user = try String(contentsOfFile: pki.pskFile, encoding: .utf8).prefix { $0 != ":" }
    #expect(try cell(row, "libnbd's tools") == "yes")
    let seen = try run(
      "nbdinfo",
      ["--size", "nbds://\(user)@localhost:\(server.port)/?tls-psk-file=\(pki.pskFile)"])
    #expect(seen.status == 0, "\(seen)")
    #expect(try nbdSecure(["info", "--psk-file", pki.pskFile] + server.address).status == 0)
  }
}
