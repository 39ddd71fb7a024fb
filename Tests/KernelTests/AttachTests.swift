// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// The program on a real kernel's nbd driver, one guest for each scenario.
@Suite struct AttachTests {
  @Test(arguments: [
    Scenario("boot", "0"),
    Scenario("round-trip", "64"),
    Scenario("round-trip", "8", "--binding", "ioctl"),
    Scenario("psk"),
    Scenario("read-only"),
    Scenario("read-only", "--binding", "ioctl"),
    Scenario("two-devices"),
    Scenario("four-connections"),
    Scenario("block-size"),
    Scenario("again"),
    Scenario("ready"),
    Scenario("proxy"),
    Scenario("check"),
    Scenario("secrets"),
    Scenario("expiry"),
    Scenario("goodbye"),
    Scenario("events"),
    Scenario("keepalive"),
    Scenario("recipes"),
    Scenario("copy-device"),
  ])
  func works(_ scenario: Scenario) async throws { try await passes(scenario) }

  @Test(arguments: [
    Scenario("in-use"),
    Scenario("in-use", "--binding", "ioctl"),
    Scenario("held"),
    Scenario("stale"),
    Scenario("foreign"),
    Scenario("unflushed"),
    Scenario("sigterm"),
    Scenario("take-over"),
    Scenario("server-gone", "idle"),
    Scenario("server-gone", "busy"),
    Scenario("server-gone", "silent"),
    Scenario("server-gone", "busy", "--binding", "ioctl"),
    Scenario("refusals"),
    Scenario("no-driver", guest: ["--modules", "tls"]),
    Scenario("interrupted"),
  ])
  func holdsInTrouble(_ scenario: Scenario) async throws { try await passes(scenario) }

  /// The kernel layer by itself, driven by kernel-probe.
  @Test(arguments: [
    Scenario("netlink"), Scenario("ioctl"), Scenario("reconfigure"), Scenario("use"),
    Scenario("support"), Scenario("no-tls", guest: ["--modules", "nbd"]),
  ])
  func driverIsUnderstood(_ scenario: Scenario) async throws { try await passes(scenario) }

  @Test func guestReportsFailure() async throws {
    let seen = try await Scenario("boot", "3").play()
    #expect(seen.status == 3, "\(seen)")
  }

  private func passes(_ scenario: Scenario) async throws {
    let seen = try await scenario.play()
    #expect(seen.status == 0, "\(seen)")
  }
}
