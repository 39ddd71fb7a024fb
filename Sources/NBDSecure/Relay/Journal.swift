// SPDX-License-Identifier: Apache-2.0
import NBDProtocol

/// The modifying requests that a crash of the server could still undo, in the order in which they
/// came: those unanswered, and those acknowledged but not yet covered by a FLUSH.
///
/// A fixed circular buffer, addressed by an index that only grows. Write payloads stay where they
/// are in the relay's ring; an entry pins them.
struct Journal {
  /// One modifying request: WRITE, TRIM or WRITE_ZEROES.
  struct Entry {
    var type: UInt16 = 0
    var flags: UInt16 = 0
    var offset: UInt64 = 0
    var length: UInt32 = 0
    /// Where the request's header begins in the ring's stream.
    var start: UInt64 = 0
    /// When it was read from the plain side.
    var submitted: UInt64 = 0
    /// When it was acknowledged; 0 while unanswered.
    var acknowledged: UInt64 = 0
    /// It failed or was dropped: nothing to keep.
    var void = false

    /// Whether two requests touch a common byte.
    func overlaps(_ other: Entry) -> Bool {
      offset < other.offset &+ UInt64(other.length) && other.offset < offset &+ UInt64(length)
    }
  }

  private var entries: [Entry]
  /// The oldest entry's index.
  private(set) var first: UInt64 = 0
  /// One past the newest entry's index.
  private(set) var end: UInt64 = 0
  private let mask: UInt64

  /// - Parameter capacity: how many entries; a power of two.
  init(capacity: Int) {
    entries = Array(repeating: Entry(), count: capacity)
    mask = UInt64(capacity - 1)
  }

  var isEmpty: Bool { first == end }
  var count: Int { Int(end - first) }
  var isFull: Bool { count == entries.count }
  var capacity: Int { entries.count }

  subscript(index: UInt64) -> Entry {
    get { entries[Int(index & mask)] }
    _modify { yield &entries[Int(index & mask)] }
  }

  /// Appends `entry` and tells its index. The caller has checked `isFull`.
  mutating func append(_ entry: Entry) -> UInt64 {
    let index = end
    entries[Int(index & mask)] = entry
    end += 1
    return index
  }

  /// Lets go of the entries at the end that need no keeping; where the last one's request ends in the
  /// ring's stream, nil where none is left. Nothing in flight may name an entry.
  mutating func releaseEnd() -> UInt64? {
    while first != end, entries[Int((end - 1) & mask)].void { end -= 1 }
    guard first != end else { return nil }
    let last = entries[Int((end - 1) & mask)]
    let payload = last.type == Command.write.rawValue ? UInt64(last.length) : 0
    return last.start + UInt64(Request.size) + payload
  }

  /// Lets go of the entries at the front that need no keeping.
  ///
  /// - Parameters:
  ///   - flushedThrough: acknowledgements up to this instant are on stable storage.
  ///   - keepUnflushed: whether acknowledged entries wait for a FLUSH at all.
  mutating func release(flushedThrough: UInt64, keepUnflushed: Bool) {
    while first != end {
      let entry = entries[Int(first & mask)]
      guard
        entry.void
          || (entry.acknowledged != 0
            && (!keepUnflushed || entry.acknowledged <= flushedThrough))
      else { return }
      first += 1
    }
  }
}
