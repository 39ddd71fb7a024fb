// SPDX-License-Identifier: Apache-2.0
import Synchronization
import TLS

/// Certificates that end soon.
enum Expiry {
  /// How long before its end a certificate is warned of, days.
  static let warningDays: Int64 = 30

  private static let secondsPerDay: Int64 = 86400

  /// Whole days until a certificate ends, negative when it has.
  static func daysLeft(_ notAfter: Int64, now: Int64 = secondsSince1970()) -> Int64 {
    let seconds = notAfter.subtractingReportingOverflow(now).partialValue
    return seconds >= 0 ? seconds / secondsPerDay : (seconds + 1) / secondsPerDay - 1
  }

  static func isNear(_ notAfter: Int64, now: Int64 = secondsSince1970()) -> Bool {
    daysLeft(notAfter, now: now) < warningDays
  }

  /// "ends in 12 days, on 2026-12-04".
  static func phrase(_ notAfter: Int64, now: Int64 = secondsSince1970()) -> String {
    let date = Text.date(notAfter).prefix { $0 != " " }
    switch daysLeft(notAfter, now: now) {
    case ..<0: return "ended on \(date)"
    case 0: return "ends in less than a day, on \(date)"
    case 1: return "ends in 1 day, on \(date)"
    case let days: return "ends in \(days) days, on \(date)"
    }
  }

  /// One line about a certificate that ends soon; nil for one that does not.
  static func warning(
    _ certificate: String, notAfter: Int64, now: Int64 = secondsSince1970()
  ) -> String? {
    isNear(notAfter, now: now) ? "\(certificate) \(phrase(notAfter, now: now))" : nil
  }
}

/// Passes each line on once: what is said at every attempt to reconnect is news only at the first.
final class Novelties: Sendable {
  /// Lines that are remembered; with more, all are news again.
  private static let limit = 256
  private let seen = Mutex<Set<String>>([])
  private let hear: @Sendable (String) -> Void

  init(_ hear: @escaping @Sendable (String) -> Void) { self.hear = hear }

  func say(_ line: String) {
    let isNew = seen.withLock { seen in
      if seen.count >= Self.limit { seen = [] }
      return seen.insert(line).inserted
    }
    if isNew { hear(line) }
  }
}
