// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import NBDSecure

@Suite("Policy: files on disk")
final class PolicyLoadingTests {
  private let root: String
  private var hostFile: String { root + "/policy.toml" }
  private var hostDirectory: String { root + "/policy.d" }

  init() throws {
    root = FileManager.default.temporaryDirectory.path + "/policy-" + UUID().uuidString
    try FileManager.default.createDirectory(
      atPath: root, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
  }

  deinit { try? FileManager.default.removeItem(atPath: root) }

  private func write(_ text: String, _ path: String, mode: mode_t = 0o644) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    #expect(chmod(path, mode) == 0)
  }

  private func makeDirectory(mode: mode_t = 0o755) {
    #expect(mkdir(hostDirectory, 0o755) == 0 && chmod(hostDirectory, mode) == 0)
  }

  private func load(_ extra: String...) throws -> PolicySet {
    try PolicySet.load(hostFile: hostFile, hostDirectory: hostDirectory, extra: extra)
  }

  private func expectRefusal(of file: String, _ reason: String, _ extra: String...) {
    do {
      _ = try PolicySet.load(hostFile: hostFile, hostDirectory: hostDirectory, extra: extra)
      Issue.record("loaded")
    } catch {
      #expect(error.file == file)
      #expect(error.reason.contains(reason), "\(error.summary)")
    }
  }

  @Test func `nothing there is the built-in policy`() throws {
    #expect(try load() == .builtIn)
    #expect(
      try PolicySet.load(hostFile: "/nonexistent/a/p.toml", hostDirectory: "/nonexistent/d")
        == .builtIn)
  }

  @Test func `host file, then the directory in order, then further files`() throws {
    makeDirectory()
    try write("", hostFile)
    try write("", hostDirectory + "/20-b.toml")
    try write("", hostDirectory + "/10-a.toml")
    try write("not toml", hostDirectory + "/.hidden.toml")
    try write("not toml", hostDirectory + "/10-a.toml~")
    try write("", root + "/more.toml")
    #expect(
      try load(root + "/more.toml").files.map(\.path) == [
        hostFile, hostDirectory + "/10-a.toml", hostDirectory + "/20-b.toml", root + "/more.toml",
      ])
  }

  @Test func `a further file must be there`() {
    expectRefusal(of: root + "/x.toml", "cannot be read", root + "/x.toml")
  }

  @Test(arguments: [0o664, 0o646, 0o777] as [mode_t]) func writable(mode: mode_t) throws {
    try write("", hostFile, mode: mode)
    expectRefusal(of: hostFile, "written by others")
    try write("", hostFile)
    try write("", root + "/more.toml", mode: mode)
    expectRefusal(of: root + "/more.toml", "written by others", root + "/more.toml")
  }

  @Test func `a directory that others can write to`() throws {
    makeDirectory(mode: 0o775)
    expectRefusal(of: hostDirectory, "written by others")
    chmod(hostDirectory, 0o755)
    chmod(root, 0o1777)
    expectRefusal(of: root, "written by others")
  }

  @Test func `not a regular file`() throws {
    mkdir(hostFile, 0o755)
    expectRefusal(of: hostFile, "not a regular file")
    rmdir(hostFile)
    mkfifo(hostFile, 0o600)
    expectRefusal(of: hostFile, "not a regular file")
    unlink(hostFile)
    try write("", hostDirectory)
    expectRefusal(of: hostDirectory, "not a directory")
    unlink(hostDirectory)
    expectRefusal(of: "/dev/null", "not a regular file", "/dev/null")
  }

  @Test func `a link that leads nowhere is not "no policy"`() throws {
    symlink(root + "/nowhere", hostFile)
    expectRefusal(of: hostFile, "cannot be read")
    unlink(hostFile)
    symlink(root + "/nowhere", hostDirectory)
    expectRefusal(of: hostDirectory, "cannot be read")
    unlink(hostDirectory)
    makeDirectory()
    symlink(root + "/nowhere", hostDirectory + "/a.toml")
    expectRefusal(of: hostDirectory + "/a.toml", "cannot be read")
  }

  @Test func `a link to a safe file is followed`() throws {
    try write("default = 'deny'", root + "/real")
    symlink(root + "/real", hostFile)
    #expect(try load().decide(Fixture.question()).refusal != nil)
  }

  @Test func size() throws {
    let comment = "#" + String(repeating: "x", count: PolicyStorage.maximumFileSize - 1)
    try write(comment, hostFile)
    #expect(try load().files.count == 1)
    try write(comment + "x", hostFile)
    expectRefusal(of: hostFile, "larger than")
  }

  @Test func `not text`() throws {
    try Data([0x23, 0xff, 0x0a]).write(to: URL(fileURLWithPath: hostFile))
    chmod(hostFile, 0o644)
    expectRefusal(of: hostFile, "UTF-8")
  }

  @Test func `somebody else's`() throws {
    try write("", hostFile)
    try givenAway(hostFile) { expectRefusal(of: hostFile, "neither root nor the caller") }
    unlink(hostFile)
    try givenAway(root) { expectRefusal(of: root, "neither root nor the caller") }
  }

  @Test func unreadable() throws {
    try write("", hostFile, mode: 0o200)
    try withoutRights { expectRefusal(of: hostFile, "cannot be read") }
    try write("", hostFile)
    #expect(try withoutRights { try load() }.files.map(\.path) == [hostFile])
    makeDirectory(mode: 0o300)
    try withoutRights { expectRefusal(of: hostDirectory, "cannot be read") }
    chmod(hostDirectory, 0o755)
    try write("", hostDirectory + "/a.toml", mode: 0)
    try withoutRights { expectRefusal(of: hostDirectory + "/a.toml", "cannot be read") }
    try write("", root + "/more.toml", mode: 0)
    unlink(hostDirectory + "/a.toml")
    try withoutRights {
      expectRefusal(of: root + "/more.toml", "cannot be read", root + "/more.toml")
    }
  }

  @Test func `one bad file refuses all`() throws {
    makeDirectory()
    try write("", hostFile)
    try write("defualt = 'deny'", hostDirectory + "/a.toml")
    expectRefusal(of: hostDirectory + "/a.toml", "unknown key")
  }

  @Test func `paths are compared after links are resolved`() throws {
    try write("", root + "/ca-2026.pem")
    symlink("ca-2026.pem", root + "/ca.pem")
    try write("[require]\ntrust-anchors = ['\(root)/ca.pem']", hostFile)
    let set = try load()
    let real = PolicyStorage.canonicalPath(root + "/ca-2026.pem")
    let mine = Fixture.question(channel: .x509(Fixture.credentials(anchors: real)))
    #expect(set.decide(mine).refusal == nil)
    #expect(set.decide(Fixture.question()).refusal?.hint == "use \(root)/ca.pem")
  }
}
