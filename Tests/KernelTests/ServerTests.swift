// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// Servers of all kinds, with a real kernel's device on top.
@Suite struct ServerTests {
  @Test(arguments: [
    Scenario("plain"),
    Scenario("too-large"),
    Scenario("too-large", "--binding", "ioctl"),
    Scenario("detach"),
    Scenario("detach", "--data-path", "ktls"),
    Scenario("detach", "--binding", "ioctl"),
    Scenario("max-request"),
    Scenario("addresses"),
    Scenario("changed"),
    Scenario("ktls-servers", "qemu-nbd"),
    Scenario("ktls-servers", "psk"),
    Scenario("ktls-servers", "tickets"),
    Scenario("ktls-servers", "mid-stream"),
  ])
  func work(_ scenario: Scenario) async throws { try await scenario.mustPass() }

  /// Kernels that have kernel TLS, but not the cipher.
  @Test func kernelTLSFallsBackWithoutTheCipher() async throws {
    try await Scenario("ktls-absent", guest: ["--modules", "nbd tls"]).mustPass()
  }
}
