// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Lost servers, killed supervisors and liars, on a real kernel. `make soak` plays the long forms.
@Suite(.serialized) struct ResilienceTests {
  /// How many rounds: a few in `make test`, `NBD_SECURE_SOAK` times as many in `make soak`.
  private static let rounds =
    ProcessInfo.processInfo.environment["NBD_SECURE_SOAK"].flatMap(Int.init) ?? 1

  private static func count(_ short: Int) -> String { "\(short * rounds)" }
  private static func timeout(_ seconds: Int) -> Int { 60 + seconds * rounds }

  private static let withNetwork = [
    "--modules", "nbd tls gf128mul ghash-generic ctr gcm chacha20poly1305 veth sch_netem",
  ]

  @Test(arguments: [
    Scenario("restarts", count(4), timeout: timeout(60)),
    Scenario("restarts", count(2), "--connections", "4", timeout: timeout(60)),
    Scenario("restarts", count(2), "--data-path", "ktls", timeout: timeout(60)),
    Scenario(
      "restarts", count(2), "--data-path", "ktls", "--connections", "4", timeout: timeout(60)),
    Scenario("killed", count(2), timeout: timeout(60)),
    Scenario("killed", count(1), "--data-path", "ktls", timeout: timeout(60)),
    Scenario("lost-cache", count(2), timeout: timeout(60)),
    Scenario("impostor", timeout: 150),
    Scenario("impostor", "--data-path", "ktls", timeout: 150),
    Scenario("time-over", timeout: 90),
    Scenario("time-over", "--data-path", "ktls", timeout: 90),
    Scenario("stopped", timeout: 120),
    Scenario("cut", guest: withNetwork, timeout: 190),
    Scenario("cut", "--data-path", "ktls", guest: withNetwork, timeout: 190),
    Scenario("cycles", count(5), timeout: timeout(40)),
    Scenario("many", "20", guest: ["--mem", "2G"], timeout: 120),
  ])
  func nothingIsLost(_ scenario: Scenario) throws { try scenario.mustPass() }
}

/// The data path without a process, on a real kernel.
@Suite(.serialized) struct KernelTLSTests {
  @Test(arguments: ["1.2", "1.3"], ["AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"])
  func works(version: String, cipher: String) throws {
    try Scenario("ktls", version, cipher).mustPass()
  }

  @Test func fourConnections() throws {
    try Scenario("ktls", "1.3", "AES-256-GCM", "--connections", "4").mustPass()
  }

  @Test func fallsBackWithoutTheModule() throws {
    try Scenario("ktls-absent", guest: ["--modules", "nbd"]).mustPass()
  }
}

extension Scenario {
  func mustPass() throws {
    let seen = try play()
    #expect(seen.status == 0, "\(seen)")
    // Figures for the closing note.
    if ProcessInfo.processInfo.environment["NBD_SECURE_SOAK"] != nil { print("\(self): \(seen)") }
  }
}
