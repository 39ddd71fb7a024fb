// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import TestSupport
import Testing

@testable import NBDSecure

/// Random requests against a model of the disk, 128 in flight all the time, every byte compared.
/// `make soak` sends many more.
@Suite struct RelayModelTests {
  private static let rounds =
    ProcessInfo.processInfo.environment["NBD_SECURE_SOAK"].flatMap(Int.init) ?? 1

  @Test(arguments: ModelLink.allCases, [4 << 20, 1 << 16, 0])
  func agreesWithAModel(_ link: ModelLink, flushWindow: Int) throws {
    let rig = try RelayRig(size: 4 << 20, flushWindow: flushWindow, link: link)
    rig.server.shuffles = true
    rig.lane.run()
    var random = SplitMix(seed: 42)
    try rig.mixedLoad(requests: 2000 * Self.rounds, depth: 128, random: &random)
    #expect(rig.server.contents == rig.model)
  }

  @Test(arguments: ModelLink.allCases)
  func aLostServerIsAPause(_ link: ModelLink) throws {
    let rig = try RelayRig(size: 4 << 20, flushWindow: 4 << 20, link: link)
    rig.server.shuffles = true
    rig.lane.run()
    var random = SplitMix(seed: 7)
    for _ in 0..<(8 * Self.rounds) {
      try rig.mixedLoad(requests: 400, depth: 128, random: &random) { answered in
        guard answered == 200 else { return }
        rig.server.crash()
        guard case .lost = rig.outcome() else {
          Issue.record("the relay did not notice the crash")
          return
        }
        _ = try rig.reconnect()
      }
    }
    #expect(rig.server.contents == rig.model)
  }

  /// The server renews its keys, and asks us to renew ours, under a load and with nothing to do.
  @Test(arguments: [KeyUpdates.silent, .asking])
  func keyUpdatesAreNotNoticed(_ kind: KeyUpdates) throws {
    let rig = try RelayRig(size: 4 << 20, flushWindow: 4 << 20, link: .tls13)
    rig.server.shuffles = true
    rig.server.keyUpdates = kind
    rig.lane.run()
    var random = SplitMix(seed: 11)
    for _ in 0..<(2 * Self.rounds) {
      let before = rig.server.keyUpdatesSent.loaded
      let loaded = try eventually(within: 24) {
        try rig.mixedLoad(requests: 500, depth: 128, random: &random)
        return rig.server.keyUpdatesSent.loaded >= before + 4
      }
      #expect(loaded)
      let quiet = rig.server.keyUpdatesSent.idle
      #expect(eventually(within: 12) { rig.server.keyUpdatesSent.idle >= quiet + 3 })
    }
    try rig.mixedLoad(requests: 500, depth: 128, random: &random)
    #expect(rig.server.contents == rig.model)
    #expect(rig.lane.takeOutcome() == nil, "the relay lost its server")
  }

  /// Connections that end anywhere in a reply, again and again.
  @Test(arguments: ModelLink.allCases)
  func cutsAnywhereAreAPause(_ link: ModelLink) throws {
    let rig = try RelayRig(size: 4 << 20, flushWindow: 1 << 20, link: link)
    var random = SplitMix(seed: 99)
    var cuts = SplitMix(seed: 100)
    rig.lane.run()
    let supervisor = ModelSupervisor(rig)
    var ordered = 0
    try rig.mixedLoad(requests: 2000 * Self.rounds, depth: 128, random: &random) { answered in
      // Some of what is answered may have lain ready since before the last cut.
      guard answered % 40 == 0, rig.server.cutReadAfter < 0 else { return }
      ordered += 1
      rig.server.cutReadAfter = Int.random(in: 0..<8300, using: &cuts)
    }
    rig.server.cutReadAfter = -1
    let losses = supervisor.finish()
    #expect(ordered >= 6 && losses.count >= ordered - 1, "\(losses.count) of \(ordered)")
    #expect(losses.allSatisfy { if case .lost = $0 { true } else { false } })
    #expect(rig.server.contents == rig.model)
  }

  /// A connection that has sent so many records is replaced when everything is answered.
  @Test func wornOutConnectionsAreReplaced() throws {
    let rig = try RelayRig(size: 4 << 20, flushWindow: 4 << 20, link: .tls13, lifetime: 300)
    rig.server.shuffles = true
    rig.lane.run()
    let supervisor = ModelSupervisor(rig)
    var random = SplitMix(seed: 13)
    // However many requests share a record, these make a thousand of them. A shorter life would end
    // before anything new is sent: what is repeated on a new connection counts, too.
    try rig.mixedLoad(requests: 10_000 * Self.rounds, depth: 128, random: &random)
    let renewals = supervisor.finish()
    #expect(renewals.count >= 3)
    #expect(renewals.allSatisfy { if case .drained = $0 { true } else { false } })
    #expect(rig.server.contents == rig.model)
  }
}
