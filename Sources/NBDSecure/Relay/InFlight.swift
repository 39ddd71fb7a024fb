// SPDX-License-Identifier: Apache-2.0
import NBDProtocol

/// The requests that the server has not answered, each in a slot of a fixed table.
///
/// On the wire a request carries a cookie of ours, which names the slot and how often it was used,
/// so that a reply is found by index, and a reply to nothing in flight by a comparison.
struct InFlight {
  /// An unanswered request.
  struct Slot {
    /// The plain side's cookie, given back with the reply.
    var cookie: UInt64 = 0
    var offset: UInt64 = 0
    var length: UInt32 = 0
    var type: UInt16 = 0
    var flags: UInt16 = 0
    /// Whether the slot is taken.
    var busy = false
    /// The relay's own FLUSH: its reply is not for the plain side.
    var own = false
    /// How often the slot was used, part of the cookie.
    var generation: UInt64 = 0
    /// Whether all of it was given to the present channel.
    var onWire = true
    /// When it was sent last, CLOCK_MONOTONIC nanoseconds.
    var sentAt: UInt64 = 0
    /// When it came from the plain side.
    var takenAt: UInt64 = 0
    /// For a FLUSH: acknowledgements up to this instant are covered by it.
    var covers: UInt64 = 0
    /// Its journal entry; `noEntry` where it modifies nothing.
    var entry: UInt64 = InFlight.noEntry
    /// Bytes of its reply that the plain side has got already, header included.
    var delivered: Int = 0
    /// The request again, as it goes over the wire.
    func request(cookie: UInt64) -> Request {
      var request = Request(.read, cookie: cookie, offset: offset, length: length)
      request.flags = CommandFlags(rawValue: flags)
      request.rawCommand = type
      return request
    }

    fileprivate var next: Int32 = -1
    fileprivate var previous: Int32 = -1
  }

  static let noEntry = UInt64.max
  private static let indexBits: UInt64 = 12

  private var slots: [Slot]
  private var free: [Int32]
  private var freeCount: Int
  /// The slot that was taken first, −1 when none is.
  private(set) var oldest: Int32 = -1
  private var newest: Int32 = -1
  private(set) var count = 0

  /// - Parameter capacity: how many requests; at most 4096.
  init(capacity: Int) {
    slots = Array(repeating: Slot(), count: capacity)
    free = (0..<Int32(capacity)).reversed()
    freeCount = capacity
  }

  var isEmpty: Bool { count == 0 }
  /// How many more requests fit.
  var room: Int { freeCount }

  subscript(index: Int32) -> Slot {
    get { slots[Int(index)] }
    _modify { yield &slots[Int(index)] }
  }

  /// The slot taken after `index`, −1 after the newest.
  func next(after index: Int32) -> Int32 { slots[Int(index)].next }

  /// Takes a slot, the newest in order. The caller has checked `room`.
  mutating func take() -> Int32 {
    freeCount -= 1
    let index = free[freeCount]
    let generation = slots[Int(index)].generation &+ 1
    slots[Int(index)] = Slot()
    slots[Int(index)].busy = true
    slots[Int(index)].generation = generation
    slots[Int(index)].previous = newest
    if newest >= 0 { slots[Int(newest)].next = index } else { oldest = index }
    newest = index
    count += 1
    return index
  }

  /// Frees a slot.
  mutating func release(_ index: Int32) {
    let slot = slots[Int(index)]
    if slot.previous >= 0 {
      slots[Int(slot.previous)].next = slot.next
    } else {
      oldest = slot.next
    }
    if slot.next >= 0 {
      slots[Int(slot.next)].previous = slot.previous
    } else {
      newest = slot.previous
    }
    slots[Int(index)].busy = false
    free[freeCount] = index
    freeCount += 1
    count -= 1
  }

  /// The cookie that a request in this slot carries on the wire.
  func wireCookie(of index: Int32) -> UInt64 {
    slots[Int(index)].generation << Self.indexBits | UInt64(index)
  }

  /// The slot that a reply's cookie names; nil for a reply to nothing in flight.
  func slot(of wireCookie: UInt64) -> Int32? {
    let index = Int(wireCookie & (1 << Self.indexBits - 1))
    guard index < slots.count, slots[index].busy, slots[index].onWire,
      slots[index].generation & (UInt64.max >> Self.indexBits) == wireCookie >> Self.indexBits
    else { return nil }
    return Int32(index)
  }
}
