// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// `copy` in both directions against the real servers.
@Suite(.serialized) struct CopyTests {
  /// Every server, as it is and with what takes a capability away from it.
  static let servers: [ServerConfiguration] = {
    var noExtents = ServerConfiguration(.nbdkit, arguments: ["--filter=noextents"])
    noExtents.exportDescription = "no extents"
    let noZero = ServerConfiguration(.nbdkit, arguments: ["--filter=nozero"])
    var blocks = ServerConfiguration(.nbdkit, arguments: ["--filter=blocksize-policy"])
    blocks.parameters = [
      "blocksize-minimum=4096", "blocksize-preferred=64K", "blocksize-maximum=128K",
      "blocksize-error-policy=error",
    ]
    // Less than a page at a time.
    var tiny = blocks
    tiny.parameters = [
      "blocksize-minimum=512", "blocksize-preferred=512", "blocksize-maximum=1536",
      "blocksize-error-policy=error",
    ]
    let structuredOff = ServerConfiguration(.nbdkit, arguments: ["--no-sr"])
    return [
      ServerConfiguration(.nbdkit), ServerConfiguration(.qemuNBD),
      ServerConfiguration(.nbdServer, tls: .required(.x509WithClientCertificate, nil)),
      ServerConfiguration(.nbdkit, .unix, tls: .required(.psk, nil)), noExtents, noZero, blocks,
      tiny,
      structuredOff, ServerConfiguration(.nbdkit, tls: .off, export: "disk-1"),
    ]
  }()

  @Test(arguments: servers) func thereAndBack(_ wanted: ServerConfiguration) throws {
    let image = try CopyImage()
    let server = try Server(wanted)
    // What was there before does not shine through, least of all in holes.
    try CopyImage.bytes(image.size, seed: 99).write(to: URL(fileURLWithPath: server.disk))

    let up = try nbdSecure(["copy", "--verify", "--from", image.path] + server.endpoint)
    #expect(up.status == 0, "\(up)\n\(server.log.suffix(2000))")
    // nbd-server offers no FLUSH unless configured to, and that is told.
    #expect(up.stdout.isEmpty && (up.stderr.isEmpty || wanted.program == .nbdServer), "\(up)")
    #expect(try difference(image.path, server.disk) == "")

    let down = try nbdSecure(
      ["copy", "--verify", "--to", image.file("back.img")] + server.endpoint)
    #expect(down.status == 0, "\(down)\n\(server.log.suffix(2000))")
    #expect(down.stdout.isEmpty && down.stderr.isEmpty, "\(down)")
    #expect(try difference(image.path, image.file("back.img")) == "")
    // Zeroes that were written out became a hole too.
    #expect(allocated(image.file("back.img")) <= allocated(image.path) - (1 << 20) + 65536)
    #expect(image.names == ["source.img", "back.img"])
  }

  @Test func holesReachTheServer() throws {
    let image = try CopyImage()
    for program in [ServerProgram.nbdkit, .qemuNBD] {
      let server = try Server(ServerConfiguration(program))
      try CopyImage.bytes(image.size, seed: 99).write(to: URL(fileURLWithPath: server.disk))
      let up = try nbdSecure(["copy", "--from", image.path] + server.endpoint)
      #expect(up.status == 0, "\(up)")
      #expect(allocated(server.disk) < 3 << 20, "\(program)")
    }
  }

  @Test func memoryAndManyConnections() throws {
    var wanted = ServerConfiguration(.nbdkit)
    wanted.plugin = ["memory", "16M"]
    let image = try CopyImage()
    let server = try Server(wanted)
    for more in [["--connections", "8", "--requests", "3"], ["--connections", "1"]] {
      let up = try nbdSecure(["copy", "--from", image.path] + more + server.endpoint)
      #expect(up.status == 0, "\(up)")
      let down = try nbdSecure(
        ["copy", "--force", "--to", image.file("back.img")] + more + server.endpoint)
      #expect(down.status == 0, "\(down)")
      #expect(try difference(image.path, image.file("back.img")) == "")
    }
  }

  @Test func connectionsThatTheServerDoesNotAllow() throws {
    let server = try Server(
      ServerConfiguration(
        .nbdkit, arguments: ["--filter=multi-conn"], parameters: ["multi-conn-mode=disable"]))
    let image = try CopyImage()
    let seen = try nbdSecure(
      ["copy", "--connections", "2", "--to", image.file("back.img")] + server.endpoint)
    #expect(seen.status == 0, "\(seen)")
    #expect(seen.stderr.contains("using 1 connection instead of 2"), "\(seen)")
    let quiet = try nbdSecure(
      ["copy", "--force", "--to", image.file("back.img")] + server.endpoint)
    #expect(quiet.stderr.isEmpty, "\(quiet)")
  }

  @Test func qcow2() throws {
    let image = try CopyImage()
    let disk = image.file("disk.qcow2")
    #expect(
      try run("qemu-img", ["create", "-q", "-f", "qcow2", disk, "\(image.size)"]).status == 0)
    let pki = try PKI.shared.get()
    let socket = image.file("s")
    let server = try ChildProcess(
      try locate("qemu-nbd"),
      [
        "-t", "-e", "8", "-f", "qcow2", "-k", socket, "--object",
        "tls-creds-x509,id=tls,endpoint=server,dir=\(pki.server),verify-peer=off", "--tls-creds",
        "tls", disk,
      ], log: image.file("log"))
    #expect(eventually(within: 10) { isListening(at: socket) }, "\(server.log)")
    let to = ["--unix", socket, "--tls-hostname", "localhost", "--tls-creds", pki.trustOnly]
    let up = try nbdSecure(["copy", "--verify", "--from", image.path] + to)
    #expect(up.status == 0, "\(up)")
    let down = try nbdSecure(["copy", "--verify", "--to", image.file("back.img")] + to)
    #expect(down.status == 0, "\(down)")
    #expect(try difference(image.path, image.file("back.img")) == "")
    #expect(allocated(disk) < 3 << 20)
    #expect(allocated(image.file("back.img")) < 2 << 20)
  }

  @Test func urisAndStreams() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit))
    let uri = try server.libnbdURI()
    let up = try run("sh", ["-c", "cat '\(image.path)' | '\(nbdSecurePath)' copy - '\(uri)'"])
    #expect(up.status == 0, "\(up)")
    #expect(try difference(image.path, server.disk) == "")
    let down = try run(
      "sh", ["-c", "'\(nbdSecurePath)' copy '\(uri)' - | cat > '\(image.file("back.img"))'"])
    #expect(down.status == 0, "\(down)")
    #expect(try difference(image.path, image.file("back.img")) == "")
    let named = try nbdSecure("copy", uri, image.file("named.img"))
    #expect(named.status == 0, "\(named)")
    #expect(try difference(image.path, image.file("named.img")) == "")
    // Whoever reads us goes away: an error, no signal.
    let broken = try run(
      "bash",
      ["-c", "'\(nbdSecurePath)' copy '\(uri)' - | head -c 10 >/dev/null; exit ${PIPESTATUS[0]}"])
    #expect(broken.status == 74, "\(broken)")
  }

  @Test func sizesThatDoNotFit() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit, size: 8 << 20))
    let before = CopyImage.bytes(8 << 20, seed: 99)
    try before.write(to: URL(fileURLWithPath: server.disk))
    let long = try nbdSecure(["copy", "--from", image.path] + server.endpoint)
    #expect(long.deviations(status: 64, saying: ["16777216 bytes", "8388608"]) == [])
    #expect(try Data(contentsOf: URL(fileURLWithPath: server.disk)) == before)

    let small = try image.directory.write("small.img", [UInt8](repeating: 7, count: 5001))
    let short = try nbdSecure(["copy", "--from", small] + server.endpoint)
    #expect(short.deviations(status: 64, hinting: "--allow-shorter") == [])
    #expect(try Data(contentsOf: URL(fileURLWithPath: server.disk)) == before)
    let allowed = try nbdSecure(
      ["copy", "--allow-shorter", "--verify", "--from", small] + server.endpoint)
    #expect(allowed.status == 0, "\(allowed)")
    let after = try Data(contentsOf: URL(fileURLWithPath: server.disk))
    #expect(after.prefix(5001) == Data(repeating: 7, count: 5001))
    #expect(after.dropFirst(5001) == before.dropFirst(5001))

    let ended = try nbdSecure(
      ["copy", "--from", "-"] + server.endpoint, input: [UInt8](repeating: 1, count: 700_000))
    #expect(
      ended.deviations(status: 74, saying: ["700000 bytes"], hinting: "--allow-shorter") == [])
    let endless = try run(
      "sh",
      ["-c", "yes | '\(nbdSecurePath)' copy --from - \(server.endpoint.joined(separator: " "))"])
    #expect(endless.deviations(status: 74, saying: ["longer than the export"]) == [])
  }

  @Test func nothingIsOverwrittenUnasked() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit))
    let target = try image.directory.write("target", "precious")
    let refused = try nbdSecure(["copy", "--to", target] + server.endpoint)
    #expect(refused.deviations(status: 64, saying: ["exists"], hinting: "--force") == [])
    #expect(try String(contentsOfFile: target, encoding: .utf8) == "precious")
    let link = image.file("link")
    #expect(symlink(target, link) == 0)
    #expect(try nbdSecure(["copy", "--to", link] + server.endpoint).status == 64)
    let forced = try nbdSecure(["copy", "--force", "--to", link] + server.endpoint)
    #expect(forced.status == 0, "\(forced)")
    #expect(try difference(target, server.disk) == "")
    var facts = stat()
    #expect(lstat(link, &facts) == 0 && facts.st_mode & S_IFMT == S_IFLNK)
  }

  @Test func readOnlyExports() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit, readOnly: true))
    let up = try nbdSecure(["copy", "--from", image.path] + server.endpoint)
    #expect(up.deviations(status: 69, saying: ["read-only"]) == [])
    #expect(try nbdSecure(["copy", "--to", image.file("x")] + server.endpoint).status == 0)
  }

  @Test func policyThatAllowsReadingOnly() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit))
    let policy = try image.directory.write(
      "policy.toml", "default = \"allow\"\n[require]\nread-only = true\n")
    let to = ["--policy", policy] + server.endpoint
    let up = try nbdSecure(["copy", "--from", image.path] + to)
    #expect(up.deviations(status: 78, saying: ["policy"]) == [])
    let down = try nbdSecure(["copy", "--to", image.file("back.img")] + to)
    #expect(down.status == 0, "\(down)")
  }

  @Test func progressOnATerminalOnly() throws {
    let image = try CopyImage()
    let server = try Server(
      ServerConfiguration(.nbdkit, arguments: ["--filter=delay"], parameters: ["delay-read=6"]))
    try CopyImage.bytes(4096, seed: 9).write(to: URL(fileURLWithPath: server.disk))
    #expect(truncate(server.disk, 16 << 20) == 0)
    let command =
      "'\(nbdSecurePath)' copy --force --to '\(image.file("x"))' "
      + server.endpoint.joined(separator: " ")
    let seen = try run("script", ["-qec", command, "/dev/null"])
    #expect(seen.status == 0, "\(seen)")
    #expect(seen.stdout.contains("% [") && seen.stdout.contains("of 16 MiB"), "\(seen)")
    let quiet = try run("script", ["-qec", command + " --quiet", "/dev/null"])
    #expect(quiet.status == 0 && quiet.stdout.isEmpty, "\(quiet)")
  }

  @Test(arguments: ["pread", "pwrite"]) func errorsOfTheServer(_ what: String) throws {
    let image = try CopyImage()
    let server = try Server(
      ServerConfiguration(
        .nbdkit, arguments: ["--filter=error"],
        parameters: ["error-\(what)=EIO", "error-\(what)-rate=100%"]))
    let out = image.file("back.img")
    try CopyImage.bytes(4096, seed: 9).write(to: URL(fileURLWithPath: server.disk))
    #expect(truncate(server.disk, 16 << 20) == 0)
    let seen = try nbdSecure(
      ["copy"] + (what == "pread" ? ["--to", out] : ["--from", image.path]) + server.endpoint)
    #expect(
      seen.deviations(
        status: 74, saying: [what == "pread" ? "reading" : "writing", "EIO"], hinting: "--resume")
        == [])
    #expect(access(out, F_OK) != 0)
  }
}

extension ServerConfiguration {
  init(
    _ program: ServerProgram, size: Int = 16 << 20, arguments: [String], parameters: [String]
  ) {
    self.init(program, size: size, arguments: arguments)
    self.parameters = parameters
  }
}
