// SPDX-License-Identifier: Apache-2.0

/// When to try again: first at once, then after growing times with jitter, up to a cap, so that a
/// fleet does not fall upon a server that comes back.
struct Backoff {
  /// Seconds before the second attempt.
  static let first = 0.2
  /// The longest time between two attempts, seconds.
  static let cap = 10.0

  private(set) var attempts = 0

  /// Seconds to wait before the next attempt.
  mutating func next() -> Double {
    defer { attempts += 1 }
    guard attempts > 0 else { return 0 }
    var delay = Self.first
    for _ in 1..<min(attempts, 16) { delay = min(delay * 2, Self.cap) }
    return delay * Double.random(in: 0.75...1.25)
  }

  /// A connection came about.
  mutating func reset() { attempts = 0 }
}
