// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import Synchronization
import TestSupport
import Testing

@testable import NBDSecure

@Suite struct DialerTests {
  /// A supervisor lives for years and tries every few seconds to reach a server that is gone. What
  /// GnuTLS keeps for each thread that shook hands would add up.
  @Test func allAttemptsAreOfOneThread() throws {
    var options = ConnectionOptions()
    options.hostname = "127.0.0.1"
    // Nobody listens: what comes of an attempt does not matter here.
    options.port = try freePort()
    options.allowPlaintext = true
    options.connectTimeout = 60
    let threads = Mutex<[String]>([])
    let connector = Connector(
      request: try ConnectionRequest(options),
      trace: { _ in
        let thread = try? FileManager.default.destinationOfSymbolicLink(
          atPath: "/proc/thread-self")
        threads.withLock { $0.append(thread ?? "") }
      })
    let dialer = try Dialer()
    for _ in 0..<20 {
      dialer.connect(connector, goal: .attach(.defaultExport), count: 1)
      try dialer.done.wait(until: .after(seconds: 60))
      let outcome = try #require(dialer.takeOutcome())
      guard case .failed = outcome else {
        Issue.record("\(outcome)")
        return
      }
    }
    let seen = threads.withLock { $0 }
    #expect(seen.count >= 20)
    #expect(Set(seen).count == 1, "\(seen)")
  }
}
