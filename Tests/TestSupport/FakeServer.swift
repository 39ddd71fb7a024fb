// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization

/// A server whose every byte the test decides. The script runs once for each connection, on a
/// thread of its own; it is given the number of the connection, from 0, through the connection.
///
/// When a script returns without closing, the connection goes on recording what the client sends
/// until the client closes, so that a test can show that nothing followed on the wire.
package final class FakeServer: @unchecked Sendable {
  /// What a connection does.
  package typealias Script = @Sendable (FakeConnection) throws -> Void

  private let directory: TemporaryDirectory
  private let listener: Listener
  private let script: Script
  private let state = Mutex<[FakeConnection]>([])
  private let stopping = Atomic<Bool>(false)

  /// Starts to listen at once.
  package init(_ transport: Transport = .ipv4, _ script: @escaping Script) throws {
    directory = try TemporaryDirectory()
    listener = try Listener(transport, path: directory.file("nbd.sock"))
    self.script = script
    let accepting = Thread { [weak self, listener] in
      while true {
        let accepted = accept(listener.descriptor, nil, nil)
        guard accepted >= 0, let self, !self.stopping.load(ordering: .relaxed) else {
          if accepted >= 0 { close(accepted) }
          return
        }
        _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
        self.serve(accepted)
      }
    }
    accepting.start()
  }

  deinit { stop() }

  /// The port it listens on.
  package var port: Int { listener.port }

  /// The path of its Unix socket.
  package var socketPath: String { listener.socketPath ?? "" }

  /// All connections so far, in the order of their arrival.
  package var connections: [FakeConnection] { state.withLock { $0 } }

  /// Waits until the given connection (0 is the first) is over and returns it.
  package func finished(_ index: Int = 0, timeout: Double = 20) throws -> FakeConnection {
    let done = eventually(within: timeout) {
      let all = connections
      return all.count > index && all[index].isOver
    }
    guard done else {
      throw SystemError(
        "connection \(index)",
        because: connections.count > index ? "the client did not close it" : "it never arrived")
    }
    return connections[index]
  }

  /// Closes the listening socket and every connection.
  package func stop() {
    stopping.store(true, ordering: .relaxed)
    shutdown(listener.descriptor, Int32(SHUT_RDWR))
    for connection in connections { connection.abort() }
  }

  private func serve(_ descriptor: Int32) {
    let connection = state.withLock { all in
      let connection = FakeConnection(descriptor: descriptor, index: all.count)
      all.append(connection)
      return connection
    }
    let script = self.script
    let thread = Thread { connection.play(script) }
    thread.start()
  }
}
