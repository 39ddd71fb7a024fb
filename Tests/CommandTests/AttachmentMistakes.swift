// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// A mistake in an attachment's file: what must be said, beside the file's name.
struct FileMistake: Sendable, CustomStringConvertible {
  var text: String
  var saying: [String]
  var hinting: String?
  var status: Int32

  init(_ text: String, saying: String..., hinting: String? = nil, status: Int32 = 78) {
    self.text = text
    self.saying = saying
    self.hinting = hinting
    self.status = status
  }

  var description: String { String(text.prefix(60)) }
}

private let good = "hostname = 'localhost'\nport = 1\n"

private let fileMistakes: [FileMistake] = [
  FileMistake("", saying: "no server named"),
  FileMistake("hostname = localhost", saying: "line 1", "TOML"),
  FileMistake(
    good + "hostnam = 'x'", saying: "line 3", "hostnam", "unknown key", hinting: "hostname"),
  FileMistake(good + "port = 2", saying: "line 3", "port"),
  FileMistake("hostname = 'h'\nport = '10809'", saying: "line 2", "port", "integer"),
  FileMistake("hostname = 'h'\nport = 0", saying: "port", "1 to 65535"),
  FileMistake("hostname = 'h'\nport = 65536", saying: "port"),
  FileMistake("hostname = 1", saying: "hostname", "string"),
  FileMistake("hostname = ''", saying: "hostname"),
  FileMistake("hostname = 'h'\nunix = '/s'", saying: "exclude"),
  FileMistake("uri = 'nbds://h/'\nhostname = 'h'", saying: "--hostname", "URI"),
  FileMistake("uri = 'http://h/'", saying: "http"),
  FileMistake("uri = 'nbd://localhost:1/'", saying: "plaintext"),
  FileMistake("unix = 'nbd.sock'", saying: "unix", "absolute"),
  FileMistake("unix = '/run/nbd.sock'", saying: "no host name", hinting: "tls-hostname"),
  FileMistake("vsock = 2", saying: "vsock", "string"),
  FileMistake(good + "tls-creds = 'pki'", saying: "tls-creds", "absolute"),
  FileMistake(good + "psk-file = '~/keys.psk'", saying: "psk-file", "absolute"),
  FileMistake(good + "policy = 'policy.toml'", saying: "policy"),
  FileMistake(good + "policy = []", saying: "policy", "empty"),
  FileMistake(good + "tls-min-version = '1.1'", saying: "1.1"),
  FileMistake(good + "tls-min-version = 1.3", saying: "tls-min-version", "string"),
  FileMistake(good + "tls-pin = 'sha256:12'", saying: "--tls-pin"),
  FileMistake(good + "tls-pin = [1]", saying: "tls-pin"),
  FileMistake(good + "allow-plaintext = 'yes'", saying: "allow-plaintext", "true or false"),
  FileMistake(good + "read-only = 1", saying: "read-only", "true or false"),
  FileMistake(good + "device = 'sda'", saying: "sda", hinting: "nbd0"),
  FileMistake(good + "connections = 0", saying: "connections"),
  FileMistake(good + "connections = 17", saying: "connections", "16"),
  FileMistake(good + "data-path = 'fast'", saying: "data-path", hinting: "ktls"),
  FileMistake(good + "binding = 'ktls'", saying: "binding", hinting: "netlink"),
  FileMistake(good + "block-size = 1000", saying: "--block-size 1000"),
  FileMistake(good + "io-timeout = 0", saying: "io-timeout"),
  FileMistake(good + "io-timeout = 2.5", saying: "io-timeout", "integer"),
  FileMistake(good + "reconnect-timeout = -1", saying: "reconnect-timeout"),
  FileMistake(good + "reconnect-timeout = '300s'", saying: "reconnect-timeout", "integer"),
  FileMistake(good + "flush-window = 4096", saying: "flush-window"),
  FileMistake(good + "connect-timeout = 0", saying: "connect-timeout"),
  FileMistake(good + "[tls]\ncreds = '/x'", saying: "line 3", "tls", "unknown key"),
  FileMistake(good + "psk-identity = 'me'", saying: "pre-shared", hinting: "psk-file", status: 66),
  FileMistake(
    "unix = '/s'\ntls-hostname = 'h'\ndata-path = 'ktls'", saying: "--data-path ktls", "TCP"),
]

@Suite struct AttachmentMistakeTests {
  @Test(arguments: fileMistakes) func inTheFile(_ mistake: FileMistake) throws {
    let directory = try TemporaryDirectory()
    let file = try directory.write("data.toml", mistake.text)
    for verb in [["attach", "--config"], ["up"]] {
      let seen = try nbdSecure(verb + [file])
      #expect(
        seen.deviations(
          status: mistake.status, saying: [file] + mistake.saying, hinting: mistake.hinting) == [])
    }
  }

  @Test func filesThatOthersCanWrite() throws {
    let directory = try TemporaryDirectory()
    let file = try directory.write("data.toml", good, mode: 0o666)
    let seen = try nbdSecure("attach", "--config", file)
    #expect(seen.deviations(status: 78, saying: [file, "666"], hinting: "chmod") == [])
    let open = try directory.directory("open", mode: 0o777)
    chmod(open, 0o777)
    try Data(good.utf8).write(to: URL(fileURLWithPath: open + "/data.toml"))
    let there = try nbdSecure("attach", "--config", open + "/data.toml")
    #expect(there.deviations(status: 78, saying: [open], hinting: "chmod") == [])
  }

  @Test(
    arguments: [
      (78, ["up", "no-such-attachment"], ["no-such-attachment.toml"]),
      (78, ["attach", "--config", "no-such-attachment"], ["no-such-attachment.toml"]),
      (64, ["down", "no-such-attachment"], ["no-such-attachment"]),
      (64, ["up", ".."], [".."]), (64, ["up", "a b"], ["a b"]), (64, ["up"], ["name"]),
      (64, ["down", "/etc/passwd"], ["/etc/passwd"]), (64, ["down"], ["name"]),
      (64, ["attach", "--config", "/etc/passwd"], ["/etc/passwd", ".toml"]),
      (64, ["attach", "--config", "data", "--hostname", "h"], ["--hostname", "--config"]),
      (64, ["attach", "--config=data", "--read-only"], ["--read-only"]),
      (64, ["attach", "--config", "data", "-x", "e"], ["-x"]),
      (64, ["attach", "--config", "data", "nbds://h/"], ["nbds://h/"]),
      (64, ["status", "--json", "--prometheus"], ["--prometheus"]),
      (78, ["import-nbdtab", "/nonexistent/nbdtab"], ["/nonexistent/nbdtab"]),
      (78, ["import-nbdtab", "/usr"], ["/usr"]),
    ] as [(Int32, [String], [String])])
  func inTheArguments(_ status: Int32, _ arguments: [String], _ saying: [String]) throws {
    let seen = try nbdSecure(arguments)
    #expect(seen.deviations(status: status, saying: saying) == [])
  }

  @Test func importTellsLinesAndFiles() throws {
    let directory = try TemporaryDirectory()
    let table = try directory.write(
      "nbdtab", "nbd0 h plain\nnbd1 h disk persist,cacertfile=/etc/ca.pem\n")
    let output = directory.file("attachments")
    let seen = try nbdSecure("import-nbdtab", table, "--output", output)
    #expect(seen.status == 0, "\(seen)")
    #expect(seen.stdout == "\(output)/nbd1.toml\n")
    #expect(seen.errorLines.count == 3, "\(seen)")
    #expect(seen.stderr.contains("\(table), line 2, nbd1: /etc/ca.pem is missing"))
    #expect(seen.stderr.contains("\(table), line 1, nbd0: plaintext"))
    #expect(seen.stderr.contains("\(table), line 2, nbd1: persist"))
    let again = try nbdSecure("import-nbdtab", table, "--output", output)
    #expect(again.deviations(status: 78, saying: ["nbd1.toml"], hinting: "--output") == [])
    let attached = try nbdSecure("attach", "--config", "\(output)/nbd1.toml")
    #expect(attached.status != 0)
    try directory.write("nbdtab", "nbd0 h\n")
    let bad = try nbdSecure("import-nbdtab", table, "--output", directory.file("other"))
    #expect(bad.deviations(status: 78, saying: [table, "line 1"], hinting: "HOST") == [])
  }
}
