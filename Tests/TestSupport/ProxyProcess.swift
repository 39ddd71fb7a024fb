// SPDX-License-Identifier: Apache-2.0
import Foundation

/// `nbd-secure proxy` in the background, on a socket in a directory of its own.
package final class ProxyProcess {
  /// The Unix socket that it serves on.
  package let socket: String
  package let process: ChildProcess
  private let directory: TemporaryDirectory

  /// Starts it and returns when it listens.
  package init(_ arguments: [String], environment: [String: String] = [:]) throws {
    directory = try TemporaryDirectory()
    socket = directory.file("proxy.sock")
    process = try ChildProcess(
      nbdSecurePath, ["proxy", "--listen", socket] + arguments, environment: environment,
      log: directory.file("log"))
    let path = socket
    let process = process
    guard eventually(within: 20, { process.log.contains("\(path)\n") || !process.isRunning }),
      process.isRunning
    else { throw SystemError("proxy", because: process.log) }
  }

  /// For libnbd and QEMU.
  package var uri: String { "nbd+unix:///?socket=\(socket)" }

  package var log: String { process.log }

  /// The most memory that was ever resident, MiB.
  package var peakMemory: Int {
    let status =
      (try? String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) / 1024
  }

  /// A path in the proxy's directory.
  package func file(_ name: String) -> String { directory.file(name) }
}
