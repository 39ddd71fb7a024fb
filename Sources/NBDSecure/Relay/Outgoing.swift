// SPDX-License-Identifier: Apache-2.0
import NBDProtocol

/// What waits to be written to the plain side: parts of the reply buffer, in order, and refusals
/// of our own, which may stand only between replies.
@safe
struct Outgoing: ~Copyable {
  /// Something to write.
  @safe
  enum Segment {
    /// A part of the reply buffer.
    case buffer(offset: Int, count: Int)
    /// Refusals, encoded.
    case refusals(UnsafeRawBufferPointer)
  }

  private static let capacity = 64

  private var offsets = [Int](repeating: 0, count: capacity)
  private var counts = [Int](repeating: 0, count: capacity)
  private var first = 0
  private var end = 0
  private let refused: UnsafeMutableRawBufferPointer
  private var refusedFirst = 0
  private var refusedEnd = 0
  private var writingRefusals = false

  /// Reply bytes ever queued: the position in the stream to the plain side, refusals left out.
  private(set) var queued: UInt64 = 0
  /// Reply bytes ever written.
  private(set) var written: UInt64 = 0

  init() {
    unsafe refused = .allocate(
      byteCount: Relay.Limits.refusals * SimpleReply.size, alignment: 16)
  }

  deinit { unsafe refused.deallocate() }

  /// Whether one more part of the buffer can be queued (two, to be on the safe side).
  var takesSegment: Bool { end < Self.capacity - 1 }
  /// Whether one more refusal can be queued.
  var takesRefusal: Bool {
    refusedEnd + SimpleReply.size <= Relay.Limits.refusals * SimpleReply.size
  }
  /// Whether nothing waits.
  var isEmpty: Bool { first == end && refusedFirst == refusedEnd }

  /// Queues a part of the reply buffer; one that continues the last is merged with it.
  mutating func append(offset: Int, count: Int) {
    guard count > 0 else { return }
    queued += UInt64(count)
    if end > first, offsets[end - 1] + counts[end - 1] == offset {
      counts[end - 1] += count
    } else {
      offsets[end] = offset
      counts[end] = count
      end += 1
    }
  }

  /// Queues an error reply of our own. The caller has checked `takesRefusal`.
  mutating func refuse(cookie: UInt64, error: NBDError) {
    let place = unsafe UnsafeMutableRawBufferPointer(
      rebasing: refused[refusedEnd..<(refusedEnd + SimpleReply.size)])
    unsafe encode(SimpleReply(cookie: cookie, error: error), into: place)
    refusedEnd += SimpleReply.size
  }

  /// What to write next; nil when nothing can be written now.
  mutating func next(betweenReplies: Bool) -> Segment? {
    if writingRefusals || (first == end && betweenReplies && refusedFirst < refusedEnd) {
      // Once begun they are finished before a reply: a half of one would break the stream.
      writingRefusals = true
      return unsafe .refusals(UnsafeRawBufferPointer(rebasing: refused[refusedFirst..<refusedEnd]))
    }
    guard first < end else {
      first = 0
      end = 0
      return nil
    }
    return .buffer(offset: offsets[first], count: counts[first])
  }

  /// `count` bytes of what `next` told last were written.
  mutating func wrote(_ count: Int) {
    if writingRefusals {
      refusedFirst += count
      if refusedFirst == refusedEnd {
        refusedFirst = 0
        refusedEnd = 0
        writingRefusals = false
      }
      return
    }
    written += UInt64(count)
    offsets[first] += count
    counts[first] -= count
    if counts[first] == 0 { first += 1 }
  }

  /// Takes back what was queued after `position`, none of which was written.
  mutating func truncate(to position: UInt64) {
    while queued > position, first < end {
      let cut = Int(min(queued - position, UInt64(counts[end - 1])))
      counts[end - 1] -= cut
      queued -= UInt64(cut)
      if counts[end - 1] == 0 { end -= 1 }
    }
  }

  /// Forgets everything: the plain side is gone.
  mutating func clear() {
    first = 0
    end = 0
    refusedFirst = 0
    refusedEnd = 0
    writingRefusals = false
    written = queued
  }
}
