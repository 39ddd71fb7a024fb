// SPDX-License-Identifier: Apache-2.0
internal import CLinux

/// A moment on the monotonic clock after which waiting ends.
package struct Deadline: Sendable, Hashable, Comparable {
  /// Nanoseconds of CLOCK_MONOTONIC; the maximum stands for never.
  package let nanoseconds: UInt64

  /// The deadline at a moment that `monotonicNanoseconds()` would give.
  package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// No deadline at all.
  package static let never = Deadline(nanoseconds: .max)

  /// The moment that many seconds from now. Negative and NaN are now; too long to count is never.
  package static func after(seconds: Double) -> Deadline {
    guard seconds > 0 else { return Deadline(nanoseconds: monotonicNanoseconds()) }
    guard seconds < 1e9 else { return .never }
    return Deadline(nanoseconds: monotonicNanoseconds() &+ UInt64(seconds * 1e9))
  }

  package static func < (a: Deadline, b: Deadline) -> Bool { a.nanoseconds < b.nanoseconds }

  /// What is left in nanoseconds; 0 when it has passed, the maximum for never.
  package var remainingNanoseconds: UInt64 {
    if self == .never { return .max }
    let now = monotonicNanoseconds()
    return nanoseconds > now ? nanoseconds - now : 0
  }

  /// What is left for `poll`: milliseconds rounded up, 0 when it has passed, -1 for never.
  package var remainingMilliseconds: Int32 {
    if self == .never { return -1 }
    let left = remainingNanoseconds
    let milliseconds = left / 1_000_000 + (left % 1_000_000 == 0 ? 0 : 1)
    return milliseconds > UInt64(Int32.max) ? Int32.max : Int32(milliseconds)
  }

  /// What is left in seconds; infinity for never.
  package var remainingSeconds: Double {
    self == .never ? .infinity : Double(remainingNanoseconds) / 1e9
  }

  /// Whether the moment is over.
  package var hasPassed: Bool { self != .never && monotonicNanoseconds() >= nanoseconds }
}

/// CLOCK_MONOTONIC in nanoseconds.
package func monotonicNanoseconds() -> UInt64 { clinux_monotonic() }
