// SPDX-License-Identifier: Apache-2.0

extension Relay {
  /// Bounds of the relay; docs/DEFAULTS.md says why each is what it is.
  package enum Limits {
    /// Requests that one connection has in flight.
    static let requestsInFlight = 512
    /// Bytes of requests in flight on one connection: one of the longest, and what comes beside it.
    static let inFlightBytes = 9 << 20
    /// Unflushed writes kept on one connection unless `--flush-window` says otherwise.
    package static let defaultFlushWindow = 16 << 20
    /// Modifying requests kept on one connection, unanswered or unflushed.
    static let journalEntries = 8192
    /// Longest request that is passed on.
    static let maximumRequest: UInt32 = 8 << 20
    /// The buffer between the server and the plain side.
    static let replyBuffer = 256 << 10
    /// Most that is read from the plain side at once.
    static let plainRead = 256 << 10
    /// How often the plain side is read before replies are looked at.
    static let readsAtOnce = 16
    /// The longest run of requests that must not wrap: what was read, moved by less than itself.
    static let mirrored = 2 * plainRead
    /// Each buffer of the socket pair to the kernel, bytes.
    static let socketBuffer: Int32 = 1 << 20
    /// Replies of our own (refusals) that wait for the plain side.
    static let refusals = 64

    /// A ring's capacity: a whole number of MiB.
    static func roundedUp(_ bytes: Int) -> Int { (bytes + (1 << 20) - 1) & ~((1 << 20) - 1) }
  }
}

/// What a relay did since it began.
struct RelayCounters: Sendable {
  var requests: UInt64 = 0
  var refused: UInt64 = 0
  var bytesRead: UInt64 = 0
  var bytesWritten: UInt64 = 0
  var flushesOfOurOwn: UInt64 = 0
  var resent: UInt64 = 0
}
