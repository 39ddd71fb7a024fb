// SPDX-License-Identifier: Apache-2.0
import Foundation

/// `nbd-secure proxy` in front of a server, ended when the value goes away.
package final class Proxy: Sendable {
  private let directory: TemporaryDirectory
  private let process: ChildProcess
  /// The Unix socket that it serves on.
  package let socketPath: String

  /// Starts it with the right credentials and returns when it accepts connections.
  package init(_ server: Server, options: [String] = []) throws {
    directory = try TemporaryDirectory()
    socketPath = directory.file("proxy.sock")
    let arguments = ["proxy", "--listen", socketPath] + server.endpoint + options
    process = try ChildProcess(nbdSecurePath, arguments, log: directory.file("log"))
    let listening = socketPath + "\n"
    let ready = eventually(within: 20) { !process.isRunning || log.contains(listening) }
    guard ready, process.isRunning else {
      throw SystemError("nbd-secure proxy", because: process.log)
    }
  }

  /// What it wrote.
  package var log: String { process.log }

  /// How local clients name it. The export is the only one, so its name can be left out.
  package var uri: String { "nbd+unix:///?socket=\(socketPath)" }

  /// Asks it to end, and says how it did.
  package func stop() -> Outcome.Ending? {
    process.signal(SIGTERM)
    return process.wait(timeout: 10)
  }
}
