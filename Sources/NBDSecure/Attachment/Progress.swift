// SPDX-License-Identifier: Apache-2.0
import LinuxIO

/// Whether the requests that a kernel device has in flight get their replies.
///
/// Times are nanoseconds of the monotonic clock, time-outs seconds.
struct Progress {
  /// Requests completed at the last look.
  private var completed: UInt64 = 0
  /// When something must have been completed; unknown before the first look.
  private var due: UInt64?
  /// When requests from before a reconnection must have been answered.
  private var repeatedDue: UInt64 = 0

  /// Seconds by which the block layer may be late: it rounds a request's deadline up to a whole
  /// second (`blk_add_timer`, block/blk-timeout.c).
  static let kernelRounding = 1.0

  /// New connections took the place of lost ones. What was in flight before them the kernel sends
  /// again only when the request's own timer has expired, which is set to the same time-out: until
  /// then it is not the server that is silent.
  mutating func reconnected(at now: UInt64, timeout: Double) {
    repeatedDue = now + Self.nanoseconds(2 * timeout + 2 * Self.kernelRounding)
    due = nil
  }

  /// Whether requests are in flight and none has been completed for the time-out. Asked again, it
  /// counts from there.
  mutating func isMissing(
    inFlight: UInt64, completed: UInt64, at now: UInt64, timeout: Double
  ) -> Bool {
    if let due, inFlight > 0, completed == self.completed {
      guard now > due else { return false }
      self.due = nil
      return true
    }
    self.completed = completed
    due = max(now + Self.nanoseconds(timeout), repeatedDue)
    return false
  }

  private static func nanoseconds(_ seconds: Double) -> UInt64 { UInt64(seconds * 1e9) }
}
