// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import NBDSecure

@Suite struct BackoffTests {
  @Test func growsUpToTheCapAndBeginsAnew() {
    // With the jitter of a quarter, a fleet's spread: enough of them for both ends to show.
    var fleet = [Backoff](repeating: Backoff(), count: 200)
    for expected in [0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10] {
      let delays = fleet.indices.map { fleet[$0].next() }
      #expect(delays.allSatisfy { $0 >= expected * 0.75 && $0 <= expected * 1.25 })
      guard expected > 0 else { continue }
      #expect((delays.min() ?? 0) < expected * 0.85 && (delays.max() ?? 0) > expected * 1.15)
    }
    for index in fleet.indices { fleet[index].reset() }
    #expect(fleet.indices.allSatisfy { fleet[$0].next() == 0 })
    #expect(fleet.indices.allSatisfy { fleet[$0].next() <= 0.25 })
  }

  @Test func goesOnForEver() {
    var backoff = Backoff()
    for _ in 0..<10_000 { #expect(backoff.next() <= 12.5) }
  }
}
