// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Copies that are interrupted, and gone on with.
@Suite(.serialized) struct CopyResumeTests {
  @Test func downloadGoesOn() throws {
    let copy = try SlowDownload(seed: 5)
    interrupt(copy.process, recording: copy.record)
    #expect(access(copy.out, F_OK) != 0)
    #expect(access(copy.partial, F_OK) == 0)
    try copy.server.hurry()
    let seen = try copy.again(["-v", "--resume"])
    #expect(seen.status == 0, "\(seen)")
    #expect(!seen.stderr.contains("from the beginning"), "\(seen)")
    #expect(try difference(copy.out, copy.server.disk) == "")
    #expect(copy.image.names.filter { $0.contains("nbd-secure") } == [])
  }

  @Test func uploadGoesOn() throws {
    let image = try CopyImage()
    let source = image.file("full.img")
    try CopyImage.bytes(64 << 20, seed: 5).write(to: URL(fileURLWithPath: source))
    let server = try SlowServer(seed: 6)
    let sideFile = source + ".nbd-secure-resume"
    let copy = try ChildProcess(
      nbdSecurePath, ["copy", "--from", source] + server.endpoint, log: image.file("log"))
    interrupt(copy, recording: sideFile)
    try server.hurry()
    let seen = try nbdSecure(
      ["copy", "--resume", "--verify", "--from", source] + server.endpoint)
    #expect(seen.status == 0, "\(seen)")
    #expect(!seen.stderr.contains("from the beginning"), "\(seen)")
    #expect(try difference(source, server.disk) == "")
    #expect(access(sideFile, F_OK) != 0)
  }

  /// What a record calls done is not there when the copy beside it was begun anew, or removed.
  @Test(arguments: [0, nil]) func recordsSpeakForTheirOwnFile(_ length: Int?) throws {
    let copy = try SlowDownload(seed: 5)
    interrupt(copy.process, recording: copy.record)
    #expect(length.map { truncate(copy.partial, off_t($0)) } ?? unlink(copy.partial) == 0)
    try copy.server.hurry()
    let seen = try copy.again(["--resume"])
    #expect(seen.status == 0 && seen.stderr.contains("from the beginning"), "\(seen)")
    #expect(try difference(copy.out, copy.server.disk) == "")
  }

  @Test func notWhereSomethingChanged() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit, size: 64 << 20))
    let out = image.file("back.img")
    let partial = try image.directory.write("back.img.nbd-secure-partial", "x")
    #expect(truncate(partial, 64 << 20) == 0)
    let record = { (server: String, size: Int, flags: Int, done: String) in
      "{\"version\":2,\"direction\":\"download\",\"endpoint\":\"\(server)\","
        + "\"exportSize\":\(size),\"exportFlags\":\(flags),\"done\":\(done)}"
    }
    let export = server.configuration.export
    let name =
      "localhost:\(server.port) (at 127.0.0.1)"
      + (export.isEmpty ? "" : ", export \\\"\(export)\\\"")
    for (text, said) in [
      (record("elsewhere:10809", 64 << 20, 0, "[]"), "elsewhere"),
      (record(name, 63 << 20, 0, "[]"), "size"), (record(name, 64 << 20, 1, "[]"), "flags"),
      ("{}", "not the record"), ("", "not the record"),
    ] {
      try image.directory.write("back.img.nbd-secure-resume", text)
      let seen = try nbdSecure(["copy", "--resume", "--to", out] + server.endpoint)
      #expect(seen.deviations(status: 64, saying: [said], hinting: "--resume") == [])
    }
    let fresh = try nbdSecure(["copy", "--to", out] + server.endpoint)
    #expect(fresh.status == 0, "\(fresh)")
    #expect(try difference(out, server.disk) == "")
    let again = try nbdSecure(["copy", "--resume", "--force", "--to", out] + server.endpoint)
    #expect(again.status == 0 && again.stderr.contains("from the beginning"), "\(again)")
  }

  @Test func lostServers() throws {
    let copy = try SlowDownload(seed: 5)
    #expect(eventually(within: 10) { allocated(copy.partial) > 4 << 20 })
    copy.server.process.signal(SIGKILL)
    #expect(copy.process.wait(timeout: 10) == .exited(74), "\(copy.log)")
    #expect(copy.log.contains("connection lost"), "\(copy.log)")
    #expect(copy.log.contains("hint: --resume"), "\(copy.log)")
    #expect(access(copy.out, F_OK) != 0)
    let record = try String(contentsOfFile: copy.record, encoding: .utf8)
    #expect(record.contains("[["), "\(record)")
  }

  @Test func silentServers() throws {
    let image = try CopyImage()
    let server = try Server(
      ServerConfiguration(
        .nbdkit, arguments: ["--filter=delay"], parameters: ["delay-read=20"]))
    try CopyImage.bytes(4096, seed: 9).write(to: URL(fileURLWithPath: server.disk))
    #expect(truncate(server.disk, 16 << 20) == 0)
    let seen = try nbdSecure(
      ["copy", "--io-timeout", "1", "--to", image.file("back.img")] + server.endpoint)
    #expect(seen.deviations(status: 74, saying: ["no reply within 1 s"], hinting: "--resume") == [])
  }

  @Test func oneAtATime() throws {
    let first = try SlowDownload(seed: 5)
    #expect(eventually(within: 10) { ((try? contents(of: first.record)) ?? Data()).count > 0 })
    // It does not write its record again meanwhile.
    #expect(first.process.pause())
    let recorded = try contents(of: first.record)
    for options in [[], ["--resume"]] {
      let second = try first.again(options)
      #expect(second.deviations(status: 1, saying: ["another copy"]) == [])
      #expect(try contents(of: first.record) == recorded)
    }
    first.process.signal(SIGCONT)
    try first.server.hurry()
    #expect(first.process.wait(timeout: 20) == .exited(0), "\(first.log)")
    #expect(try difference(first.out, first.server.disk) == "")
  }

  /// A file that was not there when the copy began is not overwritten when it ends.
  @Test func filesMadeMeanwhileAreKept() throws {
    let copy = try SlowDownload(seed: 5)
    #expect(eventually(within: 10) { allocated(copy.partial) > 0 })
    try copy.image.directory.write("back.img", "precious")
    try copy.server.hurry()
    #expect(copy.process.wait(timeout: 20) == .exited(1), "\(copy.log)")
    #expect(copy.log.contains("made by somebody else"), "\(copy.log)")
    #expect(copy.log.contains("hint: --resume --force"), "\(copy.log)")
    #expect(try String(contentsOfFile: copy.out, encoding: .utf8) == "precious")
    let seen = try copy.again(["--resume", "--force"])
    #expect(seen.status == 0 && !seen.stderr.contains("from the beginning"), "\(seen)")
    #expect(try difference(copy.out, copy.server.disk) == "")
  }
}
