// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport

/// An nbdkit over TLS on a port of its own, which can be killed and started again there.
final class RestartableServer {
  let port: Int
  let disk: String
  private let directory: TemporaryDirectory
  private let arguments: [String]
  private var process: ChildProcess?

  /// - Parameters:
  ///   - filters: names of nbdkit's filters.
  ///   - parameters: of the filters.
  init(size: Int = 16 << 20, filters: [String] = [], parameters: [String] = []) throws {
    directory = try TemporaryDirectory()
    disk = try directory.disk(size: size)
    port = try freePort()
    arguments =
      [
        "-f", "-i", "127.0.0.1", "-p", "\(port)", "--tls=require",
        "--tls-certificates=\(try PKI.shared.get().server)",
      ] + filters.map { "--filter=\($0)" } + ["file", disk] + parameters
    try start()
  }

  func start() throws {
    process = try ChildProcess("nbdkit", arguments, log: directory.file("log"))
    let uri = try "nbds://localhost:\(port)/?tls-certificates=\(PKI.shared.get().trustOnly)"
    guard try eventually(within: 10, { try run("nbdinfo", ["--size", uri]).status == 0 }) else {
      throw SystemError("nbdkit", because: process?.log ?? "")
    }
  }

  /// kill -9: what it had not written is lost.
  func kill() {
    process?.signal(SIGKILL)
    _ = process?.wait(timeout: 5)
    process = nil
  }

  var endpoint: [String] {
    get throws {
      [
        "--hostname", "localhost", "--port", "\(port)", "--tls-creds",
        try PKI.shared.get().trustOnly,
      ]
    }
  }
}

/// Bytes that no two places have in common.
func randomData(_ count: Int) throws -> Data {
  let source = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/dev/urandom"))
  var data = Data()
  while data.count < count { data += try source.read(upToCount: count - data.count) ?? Data() }
  return data
}

/// All of a file.
func contents(of path: String) throws -> Data {
  try Data(contentsOf: URL(fileURLWithPath: path))
}
