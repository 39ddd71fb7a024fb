// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// A server of 64 MiB without holes that takes its time until it is told to hurry: whoever copies is
/// not done before the test has done what it wants to.
struct SlowServer {
  private let directory: TemporaryDirectory
  private let server: Server

  var disk: String { server.disk }
  var endpoint: [String] { server.endpoint }
  var process: ChildProcess { server.process }

  /// The first 6 MiB at once, and the rest in 20 s.
  init(seed: UInt64) throws {
    directory = try TemporaryDirectory()
    server = try Server(
      ServerConfiguration(
        .nbdkit, size: 64 << 20, arguments: ["--filter=rate"],
        parameters: ["rate=24M", "rate-file=\(directory.file("rate"))"]))
    try CopyImage.bytes(64 << 20, seed: seed).write(to: URL(fileURLWithPath: server.disk))
  }

  /// As fast as it can from now on.
  func hurry() throws {
    // In one step: the filter must not see half a number.
    try directory.write("rate.new", "100G")
    guard rename(directory.file("rate.new"), directory.file("rate")) == 0 else {
      throw SystemError("rename")
    }
  }
}

/// A download from a slow server, in the background.
struct SlowDownload {
  let image: CopyImage
  let server: SlowServer
  /// The file that it is to make.
  let out: String
  let process: ChildProcess

  var partial: String { out + ".nbd-secure-partial" }
  var record: String { out + ".nbd-secure-resume" }
  var log: String { process.log }

  init(seed: UInt64) throws {
    image = try CopyImage()
    server = try SlowServer(seed: seed)
    out = image.file("back.img")
    process = try ChildProcess(
      nbdSecurePath, ["copy", "--to", out] + server.endpoint, log: image.file("log"))
  }

  /// Another copy to the same file, with these options.
  func again(_ options: [String]) throws -> Outcome {
    try nbdSecure(["copy"] + options + ["--to", out] + server.endpoint)
  }
}

/// Kills a copy when some of it is recorded as done.
func interrupt(_ copy: ChildProcess, recording record: String) {
  let isRecorded = eventually(within: 20) {
    ((try? String(contentsOfFile: record, encoding: .utf8)) ?? "").contains("[[")
  }
  #expect(isRecorded, "\(copy.log)")
  copy.signal(SIGKILL)
  #expect(copy.wait(timeout: 5) == .signalled(SIGKILL), "\(copy.log)")
}
