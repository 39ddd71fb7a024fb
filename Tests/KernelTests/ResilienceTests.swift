// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Lost servers, killed supervisors and liars, on a real kernel. `make soak` sets
/// `NBD_SECURE_SOAK`: it plays the long forms, and more of them, and prints the figures.
@Suite struct ResilienceTests {
  private static let isLong = ProcessInfo.processInfo.environment["NBD_SECURE_SOAK"] != nil
  private static let kernelTLS = ["--data-path", "ktls"]
  private static let four = ["--connections", "4"]
  private static let small = ["--mem", "640M"]

  /// A scenario of `short` rounds, or `long` ones, which get `each` seconds, many times what they
  /// take on a quiet machine.
  private static func rounds(
    _ name: [String], _ short: Int, _ long: Int, each: Int, _ options: [String] = []
  ) -> Scenario {
    let count = isLong ? long : short
    return Scenario(
      name[0], name.dropFirst() + ["\(count)"] + options, timeout: 900 + count * each)
  }

  /// What is worth its time in `make soak` alone.
  private static func soakOnly(_ scenarios: Scenario...) -> [Scenario] { isLong ? scenarios : [] }

  @Test(
    arguments: [
      rounds(["restarts"], 3, 100, each: 20),
      rounds(["restarts"], 2, 100, each: 20, four),
      rounds(["restarts"], 2, 100, each: 20, kernelTLS),
      rounds(["killed"], 2, 50, each: 20),
      rounds(["killed"], 1, 50, each: 20, kernelTLS),
    ]
      + soakOnly(
        rounds(["restarts"], 2, 100, each: 20, kernelTLS + four),
        rounds(["killed"], 1, 50, each: 20, four)))
  func whoDiesComesBack(_ scenario: Scenario) async throws { try await scenario.mustPass() }

  @Test(
    arguments: [
      rounds(["wire", "reset"], 20, 2000, each: 4),
      rounds(["wire", "flip"], 4, 100, each: 30, kernelTLS),
    ]
      + soakOnly(
        rounds(["wire", "reset"], 10, 300, each: 4, four),
        rounds(["wire", "reset"], 10, 150, each: 30, kernelTLS),
        rounds(["wire", "flip"], 10, 200, each: 6)))
  func badLinesCorruptNothing(_ scenario: Scenario) async throws { try await scenario.mustPass() }

  @Test(
    arguments: [
      rounds(["lost-cache", "4"], 1, 40, each: 20),
      Scenario("stopped"),
      Scenario("stopped", kernelTLS),
      Scenario("cut", guest: Scenario.withNetwork),
      Scenario("half-reply"),
      Scenario("half-reply", kernelTLS),
      Scenario("upgrade"),
    ]
      + soakOnly(
        rounds(["lost-cache", "1"], 1, 40, each: 20),
        Scenario("cut", kernelTLS, guest: Scenario.withNetwork),
        Scenario("upgrade", kernelTLS)))
  func nothingIsLost(_ scenario: Scenario) async throws { try await scenario.mustPass() }

  @Test(
    arguments: [
      Scenario("impostor"),
      Scenario("afresh"),
      Scenario("time-over"),
      Scenario("time-over", kernelTLS),
      Scenario("force"),
      Scenario("marked"),
      Scenario("ioctl-killed"),
    ] + soakOnly(Scenario("impostor", kernelTLS)))
  func troubleHasItsEnd(_ scenario: Scenario) async throws { try await scenario.mustPass() }

  @Test(
    arguments: [
      rounds(["cycles"], 4, 200, each: 10),
      Scenario("many", "20", guest: ["--mem", "2G"]),
      Scenario("memory", kernelTLS, guest: small),
      Scenario("swap", kernelTLS),
      Scenario("privileges"),
    ]
      + soakOnly(
        rounds(["cycles"], 2, 50, each: 10, ["--binding", "ioctl"]),
        rounds(["cycles"], 2, 50, each: 10, kernelTLS),
        Scenario("memory", guest: small)))
  func resourcesLast(_ scenario: Scenario) async throws { try await scenario.mustPass() }
}

/// The data path without a process, on a real kernel.
@Suite struct KernelTLSTests {
  @Test(arguments: ["1.2", "1.3"], ["AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"])
  func works(version: String, cipher: String) async throws {
    try await Scenario("ktls", version, cipher).mustPass()
  }

  @Test func fourConnections() async throws {
    try await Scenario("ktls", "1.3", "AES-256-GCM", "--connections", "4").mustPass()
  }

  @Test func fallsBackWithoutTheModule() async throws {
    try await Scenario("ktls-absent", guest: ["--modules", "nbd"]).mustPass()
  }
}

extension Scenario {
  /// Modules of a guest with a network of its own.
  static let withNetwork = [
    "--modules", "nbd tls gf128mul ghash-generic ctr gcm chacha20poly1305 veth sch_netem",
  ]

  func mustPass() async throws {
    let environment = ProcessInfo.processInfo.environment
    // `make soak PART=`: the scenarios whose name and arguments begin so.
    if let part = environment["NBD_SECURE_SOAK_PART"], !part.isEmpty,
      !description.hasPrefix(part)
    {
      return
    }
    let begin = ContinuousClock.now
    let seen = try await play()
    #expect(seen.status == 0, "\(seen)")
    guard environment["NBD_SECURE_SOAK"] != nil else { return }
    // Figures for the closing note.
    print("== \(self): \((ContinuousClock.now - begin).components.seconds) s\n\(seen.stdout)")
  }
}
