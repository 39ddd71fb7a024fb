// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// What lies beside the destination of a copy when it begins, and what a copy does when it cannot
/// write, or is told to stop.
@Suite(.serialized) struct CopyTrustTests {
  private static let partial = ".nbd-secure-partial"

  private func facts(_ path: String) -> stat {
    var found = stat()
    _ = lstat(path, &found)
    return found
  }

  @Test func anotherNameOfAFileIsNotWrittenTo() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit))
    let precious = try image.directory.write("precious", "precious")
    let out = image.file("out.img")
    #expect(link(precious, out + Self.partial) == 0)
    let seen = try nbdSecure(["copy", "--to", out] + server.endpoint)
    #expect(seen.status == 0, "\(seen)")
    #expect(try String(contentsOfFile: precious, encoding: .utf8) == "precious")
    #expect(try difference(out, server.disk) == "")
  }

  @Test func linksAndOpenFilesAreReplaced() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit))
    let precious = try image.directory.write("precious", "precious")
    let out = image.file("out.img")
    #expect(symlink(precious, out + Self.partial) == 0)
    var seen = try nbdSecure(["copy", "--to", out] + server.endpoint)
    #expect(seen.status == 0, "\(seen)")
    #expect(try String(contentsOfFile: precious, encoding: .utf8) == "precious")
    // Whoever has it open writes into a file that nobody sees.
    let old = try image.directory.write("out.img" + Self.partial, "x", mode: 0o666)
    let inode = facts(old).st_ino
    // Its number is not used again meanwhile.
    let held = open(old, O_RDONLY)
    defer { close(held) }
    seen = try nbdSecure(["copy", "--force", "--to", out] + server.endpoint)
    #expect(seen.status == 0, "\(seen)")
    #expect(facts(out).st_ino != inode && facts(out).st_mode & 0o777 == 0o600)
    #expect(try difference(out, server.disk) == "")
  }

  @Test func filesOfOthersAreReplaced() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit))
    let out = image.file("out.img")
    let theirs = try image.directory.write("out.img" + Self.partial, "x")
    let seen = try givenAway(theirs) {
      try nbdSecure(["copy", "--to", out] + server.endpoint)
    }
    #expect(seen.status == 0, "\(seen)")
    #expect(facts(out).st_uid == geteuid() && facts(out).st_ino != 0)
    #expect(try difference(out, server.disk) == "")
  }

  @Test func resumingTrustsNobody() throws {
    let copy = try SlowDownload(seed: 2)
    interrupt(copy.process, recording: copy.record)
    for (file, said) in [(copy.partial, "partial"), (copy.record, "resume")] {
      #expect(chmod(file, 0o666) == 0)
      var seen = try copy.again(["--resume"])
      #expect(
        seen.deviations(
          status: 64, saying: [said, "others can write to it"], hinting: "leave out --resume")
          == [])
      #expect(chmod(file, 0o600) == 0)
      #expect(link(file, copy.image.file("second")) == 0)
      seen = try copy.again(["--resume"])
      #expect(seen.deviations(status: 64, saying: [said, "another name"]) == [])
      #expect(unlink(copy.image.file("second")) == 0)
    }
    try copy.server.hurry()
    let seen = try copy.again(["--resume"])
    #expect(seen.status == 0, "\(seen)")
    #expect(try difference(copy.out, copy.server.disk) == "")
  }

  @Test func danglingLinksAreFollowed() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit))
    try image.directory.directory("there", mode: 0o755)
    let link = image.file("link")
    #expect(symlink("there/out.img", link) == 0)
    let seen = try nbdSecure(["copy", "--to", link] + server.endpoint)
    #expect(seen.status == 0, "\(seen)")
    #expect(facts(link).st_mode & S_IFMT == S_IFLNK)
    #expect(try difference(image.file("there/out.img"), server.disk) == "")
    let none = try nbdSecure(["copy", "--to", image.file("nowhere/out.img")] + server.endpoint)
    #expect(
      none.deviations(status: 1, saying: ["cannot be created"], hinting: "make its directory")
        == [])
  }

  /// `NAME SIZE`: each in a file system of its own, which is full too early, or cannot be written.
  @Test(
    arguments: [
      ("size=4m", "No space left", 74), ("ro", "Read-only file system", 1),
    ]) func fullAndReadOnly(_ options: String, _ said: String, _ status: Int32) throws
  {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit, size: 16 << 20))
    try CopyImage.bytes(16 << 20, seed: 3).write(to: URL(fileURLWithPath: server.disk))
    let place = try image.directory.directory("small", mode: 0o755)
    let arguments = ["copy", "--to", "\(place)/out.img"] + server.endpoint
    let seen = try run(
      "unshare",
      [
        // As root of a user namespace, for whoever is not root.
        "-rm", "sh", "-c",
        "mount -t tmpfs -o \(options) tmpfs '\(place)' && \"$@\"; status=$?; ls -A '\(place)'; exit $status",
        "sh", nbdSecurePath,
      ] + arguments)
    #expect(seen.status == status, "\(seen)")
    #expect(seen.stderr.contains(said) && seen.stderr.contains("out.img"), "\(seen)")
    #expect(!seen.stdout.split(separator: "\n").contains("out.img"), "\(seen)")
  }

  @Test(arguments: [SIGINT, SIGTERM]) func interruptedByAPerson(_ signal: Int32) throws {
    let copy = try SlowDownload(seed: 4)
    #expect(eventually(within: 20) { access(copy.record, F_OK) == 0 })
    copy.process.signal(signal)
    #expect(copy.process.wait(timeout: 10) == .signalled(signal), "\(copy.log)")
    #expect(
      copy.log
        == "nbd-secure: copy: interrupted\nhint: --resume goes on where this copy was interrupted\n"
    )
    try copy.server.hurry()
    let seen = try copy.again(["--resume"])
    #expect(seen.status == 0, "\(seen)")
    #expect(try difference(copy.out, copy.server.disk) == "")
  }

  /// Neither whole blocks nor whole pieces.
  @Test(arguments: [1, 511, 4095, 4097, (512 << 10) + 1, (3 << 20) - 1])
  func oddSizes(_ size: Int) throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit))
    try CopyImage.bytes(size, seed: 6).write(to: URL(fileURLWithPath: server.disk))
    let out = image.file("out.img")
    let down = try nbdSecure(["copy", "--verify", "--to", out] + server.endpoint)
    #expect(down.status == 0, "\(down)")
    #expect(try difference(out, server.disk) == "")
    try CopyImage.bytes(size, seed: 7).write(to: URL(fileURLWithPath: out))
    let up = try nbdSecure(["copy", "--verify", "--from", out] + server.endpoint)
    #expect(up.status == 0, "\(up)")
    #expect(try difference(out, server.disk) == "")
  }

  /// Killed again and again, each time somewhere else, until nothing is left to do.
  @Test func killedAtSeveralPoints() throws {
    let image = try CopyImage()
    let server = try SlowServer(seed: 8)
    let out = image.file("out.img")
    for number in 0..<5 {
      let copy = try ChildProcess(
        nbdSecurePath, ["copy", "--resume", "--to", out] + server.endpoint,
        log: image.file("log\(number)"))
      let bytes = (number * 9 + 1) << 20
      _ = eventually(within: 20) { allocated(out + Self.partial) > bytes }
      copy.signal(SIGKILL)
      #expect(copy.wait(timeout: 5) == .signalled(SIGKILL), "\(copy.log)")
      #expect(access(out, F_OK) != 0)
    }
    try server.hurry()
    let seen = try nbdSecure(["copy", "--resume", "--verify", "--to", out] + server.endpoint)
    #expect(seen.status == 0, "\(seen)")
    #expect(try difference(out, server.disk) == "")
    #expect(image.names.filter { $0.contains("nbd-secure") } == [])
  }

  /// As a copy leaves it that is killed while it writes its record.
  @Test func halfWrittenRecordsAreRemoved() throws {
    let image = try CopyImage()
    let server = try Server(ServerConfiguration(.nbdkit))
    let out = image.file("out.img")
    for arguments in [
      ["--to", out], ["--from", out], ["--force", "--resume", "--to", out],
    ] {
      _ = try image.directory.write("out.img.nbd-secure-resume.new", "{")
      let seen = try nbdSecure(["copy"] + arguments + server.endpoint)
      #expect(seen.status == 0, "\(seen)")
      #expect(image.names.filter { $0.contains("nbd-secure") } == [], "\(arguments)")
    }
  }

  @Test func progressFitsTheTerminal() throws {
    let image = try CopyImage()
    let server = try Server(
      ServerConfiguration(.nbdkit, arguments: ["--filter=delay"], parameters: ["delay-read=6"]))
    try CopyImage.bytes(4096, seed: 9).write(to: URL(fileURLWithPath: server.disk))
    #expect(truncate(server.disk, 16 << 20) == 0)
    let command =
      "stty cols 40; '\(nbdSecurePath)' copy --to '\(image.file("x"))' "
      + server.endpoint.joined(separator: " ")
    let seen = try run("script", ["-qec", command, "/dev/null"])
    #expect(seen.status == 0, "\(seen)")
    let lines = seen.stdout.split { $0 == "\r" || $0 == "\r\n" || $0 == "\n" }
      .map { $0.replacing("\u{1b}[K", with: "") }.filter { $0.contains("%") }
    #expect(!lines.isEmpty, "\(seen)")
    #expect(lines.allSatisfy { $0.count < 40 }, "\(lines)")
  }
}
