// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// What the relays of one attachment share: the order of requests and acknowledgements, and how
/// far a FLUSH reached.
///
/// With NBD_FLAG_CAN_MULTI_CONN a FLUSH on one connection covers what any other connection had
/// acknowledged before it was sent (doc/proto.md, "Multi-connection"), so the count is common.
final class RelayClock: Sendable {
  private let now = Atomic<UInt64>(1)
  private let flushed = Atomic<UInt64>(0)
  private let lost = Atomic<UInt64>(0)

  /// The next instant, later than every one given out before.
  func tick() -> UInt64 {
    now.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
  }

  /// The latest instant given out.
  var current: UInt64 { now.load(ordering: .acquiring) }

  /// Every acknowledgement up to this instant is on stable storage.
  var flushedThrough: UInt64 { flushed.load(ordering: .acquiring) }

  /// A FLUSH that was sent at `instant` succeeded.
  func publishFlush(of instant: UInt64) {
    flushed.max(instant, ordering: .acquiringAndReleasing)
  }

  /// An acknowledged write could not be repeated on a new connection: the next FLUSH must fail.
  func recordLostWrite() { lost.wrappingAdd(1, ordering: .releasing) }

  /// How many writes were lost. Each relay fails one FLUSH for what is new to it, as fsync(2) does
  /// for each open file: whoever wrote it is told, and nobody takes the news from another.
  var lostWrites: UInt64 { lost.load(ordering: .acquiring) }
}
