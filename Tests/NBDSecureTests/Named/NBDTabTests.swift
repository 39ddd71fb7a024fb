// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import NBDSecure

@Suite("nbdtab")
struct NBDTabTests {
  private func translation(_ line: String) throws -> NBDTabTranslation {
    let entry = try #require(try NBDTab.parse(line).first)
    return NBDTabTranslation(entry, credentials: "/out/\(entry.device).pki")
  }

  @Test func fieldsAndComments() throws {
    let entries = try NBDTab.parse(
      """
      # a comment
      nbd0\thost  export   # the rest is one, too
      \u{20}
      nbd12 /run/s.sock "" unix,bs=512,_mine=1
      """)
    #expect(entries.map(\.device) == ["nbd0", "nbd12"])
    #expect(entries.map(\.line) == [2, 4])
    #expect(entries[0].options.isEmpty)
    #expect(entries[1].value("bs") == "512")
    #expect(entries[1].has("unix"))
  }

  @Test(arguments: [
    ("nbd0", 1), ("nbd0 host", 1), ("\n\nnbd0 host export a=1 b=2", 3), ("sda host export", 1),
    ("/dev/nbd0 host export", 1), ("nbd host export", 1), ("nbd0p1 host export", 1),
    ("nbd99999999 host export", 1), ("nbd0 h e\nnbd-1 h e", 2),
  ]) func malformed(_ text: String, _ line: Int) {
    #expect { try NBDTab.parse(text) } throws: { ($0 as? NBDTabError)?.line == line }
  }

  @Test func certificatesBecomeADirectoryOfLinks() throws {
    let seen = try translation(
      "nbd3 storage disk port=10810,cacertfile=/c/ca.pem,certfile=/c/me.pem,keyfile=/c/me.key,"
        + "tlshostname=s.example,conns=4,bs=4096,timeout=30")
    #expect(seen.notes == [])
    #expect(
      seen.links.map { "\($0.name) \($0.target)" } == [
        "ca-cert.pem /c/ca.pem", "client-cert.pem /c/me.pem", "client-key.pem /c/me.key",
      ])
    #expect(
      seen.text == """
        hostname = "storage"
        export = "disk"
        tls-creds = "/out/nbd3.pki"
        device = "nbd3"
        port = 10810
        tls-hostname = "s.example"
        connections = 4
        block-size = 4096
        io-timeout = 30

        """)
  }

  /// Options with no counterpart: the entry is written, with a line for each.
  @Test(arguments: [
    "persist", "swap", "sdp", "no_optgo", "nofork", "_local", "_local=1", "no-such", "bs=1000",
    "bs=256", "timeout=0", "timeout=soon", "port=0", "port", "conns=1000", "conns=-1",
  ]) func notes(_ option: String) throws {
    let seen = try translation("nbd0 host disk cacertfile=/ca.pem,\(option)")
    #expect(seen.text?.hasSuffix("device = \"nbd0\"\n") == true)
    #expect(seen.notes.count == 1)
    #expect(seen.notes.first?.hasPrefix(option.prefix { $0 != "=" }) == true)
  }

  /// Entries that are not written, with the reason.
  @Test(arguments: [
    ("", "plaintext"), ("persist,bs=512", "plaintext"),
    ("certfile=/c,keyfile=/k", "no cacertfile"), ("certfile=/c,cacertfile=/a", "go together"),
    ("keyfile=/k,cacertfile=/a", "go together"), ("cacertfile=ca.pem", "absolute"),
    ("cacertfile=", "absolute"), ("cacertfile", "absolute"),
  ]) func refused(_ options: String, _ reason: String) throws {
    let seen = try translation("nbd0 host disk \(options)")
    #expect(seen.text == nil)
    #expect(seen.notes.count == 1)
    #expect(seen.notes.first?.contains(reason) == true, "\(seen.notes)")
  }

  @Test func hostNameAloneMeansTheSystemsTrust() throws {
    let seen = try translation("nbd0 192.0.2.1 disk tlshostname=s.example")
    #expect(seen.text?.contains("tls-creds") == false)
    #expect(seen.notes.first?.contains("system's trust store") == true)
  }

  @Test(arguments: [("a\"b", "\"a\\\"b\""), ("a\\b", "\"a\\\\b\""), ("a\u{1}", "\"a\\u0001\"")])
  func quoting(_ text: String, _ quoted: String) {
    #expect(NBDTabTranslation.quoted(text) == quoted)
  }

  @Test func writtenFilesAreAttachments() throws {
    let directory = try TemporaryDirectory()
    let output = directory.file("out")
    let table = try NBDTabImport(
      text: "nbd0 h e\nnbd1 h \"quoted\\ cacertfile=/ca.pem\nnbd2 /s e unix,cacertfile=/ca.pem",
      file: "nbdtab", output: output)
    try table.write()
    #expect(table.files == ["\(output)/nbd1.toml", "\(output)/nbd2.toml"])
    // The certificates that are not there are told as well.
    #expect(table.notes.count == 4)
    #expect(table.notes.allSatisfy { $0.hasPrefix("nbdtab, line ") })
    let read = try NamedAttachment("\(output)/nbd1.toml")
    #expect(read.request.connection.endpoint.export == "\"quoted\\")
    #expect(
      read.request.connection.credentials
        == .x509(directory: "\(output)/nbd1.pki", keyPasswordFile: nil))
    #expect(
      try FileManager.default.destinationOfSymbolicLink(atPath: "\(output)/nbd1.pki/ca-cert.pem")
        == "/ca.pem")
    #expect(throws: NBDSecureError.self) { try table.write() }
  }

  @Test func oneEntryForADevice() {
    #expect { try NBDTabImport(text: "nbd0 h a\nnbd0 h b", file: "t", output: "/o") } throws: {
      ($0 as? NBDSecureError)?.summary.contains("line 2") == true
    }
  }

  @Test func whatCouldNotBeLoadedIsTold() throws {
    let relative = try translation("nbd0 run/s.sock x unix,tlshostname=h")
    #expect(relative.text == nil)
    #expect(relative.notes == ["unix: run/s.sock is not an absolute path: not written"])
    let directory = try TemporaryDirectory()
    let missing = directory.file("none.pem")
    let table = try NBDTabImport(
      text: "nbd0 host x cacertfile=\(missing)", file: "tab", output: directory.path)
    #expect(
      table.notes == [
        "tab, line 1, nbd0: \(missing) is missing: the attachment cannot be used without it"
      ])
    #expect(table.files.count == 1)
    let empty = try NBDTabImport(text: "# nothing\n", file: "tab", output: directory.path)
    #expect(empty.notes == ["tab: has no entries"])
  }
}
