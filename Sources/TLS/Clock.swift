// SPDX-License-Identifier: Apache-2.0
internal import Glibc

/// The time of day, which certificates go by.
package enum Clock {
  /// Seconds since 1970.
  package static var now: Int64 { Int64(time(nil)) }
}
