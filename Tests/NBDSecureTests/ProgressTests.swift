// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import NBDSecure

/// Looks once a second at a device with an I/O timeout of two seconds.
@Suite struct ProgressTests {
  private var progress = Progress()

  /// What the looks at these seconds find, with requests in flight of which none completes.
  private mutating func missing(at seconds: [UInt64], completed: UInt64 = 7) -> [UInt64] {
    seconds.filter {
      progress.isMissing(
        inFlight: 3, completed: completed, at: $0 * 1_000_000_000, timeout: 2)
    }
  }

  @Test mutating func aSilentServerIsFoundAfterTheTimeout() {
    let found1 = missing(at: [0, 1, 2, 3])
    #expect(found1 == [3])
  }

  @Test mutating func afterThatTheTimeCountsAnew() {
    let found2 = missing(at: Array(0...12))
    #expect(found2 == [3, 7, 11])
  }

  @Test mutating func repliesAndIdlenessAreProgress() {
    for second in 0..<20 {
      let found3 = missing(at: [UInt64(second)], completed: UInt64(second))
      #expect(found3.isEmpty)
    }
    for second in 20..<40 {
      let now = UInt64(second) * 1_000_000_000
      let isMissing = progress.isMissing(inFlight: 0, completed: 19, at: now, timeout: 2)
      #expect(!isMissing)
    }
  }

  /// The kernel repeats them when their own timer expires, up to a second late, and then the server
  /// has its time.
  @Test mutating func requestsFromBeforeAReconnectionHaveTimeToBeRepeated() {
    let found4 = missing(at: [0, 1, 2, 3])
    #expect(found4 == [3])
    progress.reconnected(at: 3_000_000_000, timeout: 2)
    let found5 = missing(at: Array(3...12))
    #expect(found5 == [10])
  }

  /// Also where others are answered at once: they may all wait for the old ones then.
  @Test mutating func othersThatAreAnsweredDoNotShortenThatTime() {
    progress.reconnected(at: 0, timeout: 2)
    let found6 = missing(at: [0, 1], completed: 7)
    #expect(found6.isEmpty)
    let found7 = missing(at: Array(1...7), completed: 8)
    #expect(found7 == [7])
  }
}
