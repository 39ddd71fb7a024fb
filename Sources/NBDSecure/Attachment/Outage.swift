// SPDX-License-Identifier: Apache-2.0
import LinuxIO

/// By when a lost server must be back, before the requests that wait for it fail.
///
/// An outage may go on over connections that come about and answer nothing: a server that negotiates
/// and is silent then must not let requests wait for ever.
struct Outage {
  /// When the time of the outage is over that the next loss would go on with; `.never` where the next
  /// one is a new one.
  private var end = Deadline.never

  /// The link was lost; until when requests wait, which may be over.
  ///
  /// - Parameters:
  ///   - hasAnswered: whether the lost connections answered anything.
  ///   - isAwaited: whether a request waits for an answer. Nothing that is idle can tell whether
  ///     its server answers: its outage is not what went on before, nor what goes on after.
  ///   - timeout: how long requests wait for a lost server, seconds.
  mutating func begin(
    hasAnswered: Bool, isAwaited: Bool, timeout: Double, at now: UInt64 = monotonicNanoseconds()
  ) -> Deadline {
    if hasAnswered || !isAwaited || end == .never {
      end = timeout < 1e9 ? Deadline(nanoseconds: now &+ UInt64(timeout * 1e9)) : .never
    }
    defer { if !isAwaited { end = .never } }
    return end
  }
}
