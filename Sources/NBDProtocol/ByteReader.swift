// SPDX-License-Identifier: Apache-2.0

/// Takes a message apart from the front; nil, never a trap, where it is too short.
struct ByteReader {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { rest = bytes[...] }

  /// Bytes not yet taken.
  var count: Int { rest.count }

  /// The next big-endian integer.
  mutating func integer<T: FixedWidthInteger & UnsignedInteger>(_: T.Type) -> T? {
    guard let bytes = take(T.bitWidth / 8) else { return nil }
    return bytes.reduce(0) { $0 &<< 8 | T($1) }
  }

  /// The next `count` bytes.
  mutating func take(_ count: Int) -> [UInt8]? {
    guard count >= 0, rest.count >= count else { return nil }
    defer { rest = rest.dropFirst(count) }
    return Array(rest.prefix(count))
  }

  /// All that is left.
  mutating func takeRest() -> [UInt8] {
    defer { rest = [] }
    return Array(rest)
  }
}
