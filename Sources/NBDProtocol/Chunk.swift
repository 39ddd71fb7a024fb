// SPDX-License-Identifier: Apache-2.0

/// The type of a structured reply chunk (proto.md, "Structured reply types"). Open: a server may
/// send any value.
struct ChunkType: RawRepresentable, Hashable, Sendable {
  let rawValue: UInt16

  /// NBD_REPLY_TYPE_NONE
  static let none = ChunkType(rawValue: 0)
  /// NBD_REPLY_TYPE_OFFSET_DATA
  static let offsetData = ChunkType(rawValue: 1)
  /// NBD_REPLY_TYPE_OFFSET_HOLE
  static let offsetHole = ChunkType(rawValue: 2)
  /// NBD_REPLY_TYPE_BLOCK_STATUS
  static let blockStatus = ChunkType(rawValue: 5)
  /// NBD_REPLY_TYPE_ERROR
  static let error = ChunkType(rawValue: 1 << 15 | 1)
  /// NBD_REPLY_TYPE_ERROR_OFFSET
  static let errorOffset = ChunkType(rawValue: 1 << 15 | 2)

  /// All errors, known or not, have the top bit set, and begin like NBD_REPLY_TYPE_ERROR.
  var isError: Bool { rawValue & 1 << 15 != 0 }

  /// The C name, or the number.
  var name: String {
    switch self {
    case .none: "NBD_REPLY_TYPE_NONE"
    case .offsetData: "NBD_REPLY_TYPE_OFFSET_DATA"
    case .offsetHole: "NBD_REPLY_TYPE_OFFSET_HOLE"
    case .blockStatus: "NBD_REPLY_TYPE_BLOCK_STATUS"
    case .error: "NBD_REPLY_TYPE_ERROR"
    case .errorOffset: "NBD_REPLY_TYPE_ERROR_OFFSET"
    default: "reply type 0x" + Printable.hex(rawValue)
    }
  }
}

/// The header of a structured reply chunk, 20 bytes (proto.md, "Structured reply chunk message").
struct ChunkHeader: Hashable, Sendable {
  static let size = 20
  /// NBD_STRUCTURED_REPLY_MAGIC
  static let magic = HeaderError.structuredReplyMagic
  /// NBD_REPLY_FLAG_DONE
  static let doneFlag: UInt16 = 1

  /// Whether it is the last chunk of its reply.
  let isDone: Bool
  let type: ChunkType
  let cookie: UInt64
  /// Bytes of payload behind the header.
  let length: UInt32

  /// Nil for a wrong magic number or fewer bytes than a header has.
  init?(decoding bytes: [UInt8]) {
    var reader = ByteReader(bytes)
    guard reader.integer(UInt32.self) == Self.magic, let flags = reader.integer(UInt16.self),
      let type = reader.integer(UInt16.self), let cookie = reader.integer(UInt64.self),
      let length = reader.integer(UInt32.self)
    else { return nil }
    isDone = flags & Self.doneFlag != 0
    self.type = ChunkType(rawValue: type)
    self.cookie = cookie
    self.length = length
  }
}

/// One descriptor of NBD_REPLY_TYPE_BLOCK_STATUS under "base:allocation".
package struct Extent: Hashable, Sendable {
  /// Bytes, never 0. The last extent of a reply may go on beyond what was asked about.
  package let length: UInt32
  package let flags: UInt32

  /// NBD_STATE_HOLE: not allocated; says nothing of what is read there.
  package var isHole: Bool { flags & 1 != 0 }
  /// NBD_STATE_ZERO: reads as zeroes.
  package var isZero: Bool { flags & 2 != 0 }

  package init(length: UInt32, flags: UInt32) {
    self.length = length
    self.flags = flags
  }
}

/// Which bytes of a request its reply has covered so far: disjoint ranges in order.
struct Coverage: Hashable, Sendable {
  private(set) var ranges: [Range<UInt32>] = []

  /// Nothing yet.
  init() {}

  /// All of `length` bytes.
  init(all length: UInt32) { ranges = length == 0 ? [] : [0..<length] }

  /// Adds a range that is not empty; false where it overlaps one that is there.
  mutating func insert(_ range: Range<UInt32>) -> Bool {
    // Servers send chunks in order, so the place is nearly always the end.
    var index = ranges.count
    while index > 0, ranges[index - 1].lowerBound >= range.upperBound { index -= 1 }
    if index > 0, ranges[index - 1].upperBound > range.lowerBound { return false }
    let joinsBefore = index > 0 && ranges[index - 1].upperBound == range.lowerBound
    let joinsAfter = index < ranges.count && ranges[index].lowerBound == range.upperBound
    switch (joinsBefore, joinsAfter) {
    case (true, true):
      ranges[index - 1] = ranges[index - 1].lowerBound..<ranges[index].upperBound
      ranges.remove(at: index)
    case (true, false): ranges[index - 1] = ranges[index - 1].lowerBound..<range.upperBound
    case (false, true): ranges[index] = range.lowerBound..<ranges[index].upperBound
    case (false, false): ranges.insert(range, at: index)
    }
    return true
  }

  /// Whether all of `length` bytes are covered.
  func isComplete(_ length: UInt32) -> Bool { length == 0 || ranges == [0..<length] }
}
