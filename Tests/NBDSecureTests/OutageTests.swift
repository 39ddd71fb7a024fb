// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import Testing

@testable import NBDSecure

/// When the time of an outage is over. Times are seconds; servers may be away for 300.
@Suite struct OutageTests {
  private struct Loss {
    var at: UInt64
    var hasAnswered = false
    var isAwaited = true
  }

  /// By when the server must be back after each of the losses.
  private func ends(_ losses: Loss...) -> [UInt64] {
    var outage = Outage()
    return losses.map { loss in
      outage.begin(
        hasAnswered: loss.hasAnswered, isAwaited: loss.isAwaited, timeout: 300,
        at: loss.at * 1_000_000_000
      ).nanoseconds / 1_000_000_000
    }
  }

  @Test func theFirstLossBeginsOne() {
    for hasAnswered in [true, false] {
      for isAwaited in [true, false] {
        let loss = Loss(at: 1000, hasAnswered: hasAnswered, isAwaited: isAwaited)
        #expect(ends(loss) == [1300])
      }
    }
  }

  @Test func aServerThatNeverAnswersRestartsNothing() {
    #expect(
      ends(Loss(at: 1000), Loss(at: 1100), Loss(at: 1299), Loss(at: 1700))
        == [1300, 1300, 1300, 1300])
    #expect(
      ends(Loss(at: 1000, hasAnswered: true), Loss(at: 1100), Loss(at: 1200))
        == [1300, 1300, 1300])
  }

  @Test func anAnswerEndsIt() {
    #expect(
      ends(Loss(at: 1000), Loss(at: 1100, hasAnswered: true), Loss(at: 1200))
        == [1300, 1400, 1400])
  }

  /// However far apart: nobody asked anything of the connection in between, which was as good as any.
  @Test(arguments: [10, 299, 300, 301, 100_000] as [UInt64])
  func twoOutagesOfAnIdleDeviceAreTwo(_ distance: UInt64) {
    #expect(
      ends(Loss(at: 1000, isAwaited: false), Loss(at: 1000 + distance, isAwaited: false))
        == [1300, 1300 + distance])
    #expect(
      ends(Loss(at: 1000), Loss(at: 1000 + distance, isAwaited: false)) == [1300, 1300 + distance])
  }

  /// The first request after an idle device's outage has its whole time; from then on it counts.
  @Test func whatIsAskedAfterAnIdleOutageHasItsTime() {
    #expect(
      ends(Loss(at: 1000, isAwaited: false), Loss(at: 1400), Loss(at: 1500))
        == [1300, 1700, 1700])
  }
}
