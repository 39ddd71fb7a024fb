// SPDX-License-Identifier: Apache-2.0

// Everything on the wire is big-endian. All access is bounds-checked; a caller that has checked the
// whole length once pays for no further checks after inlining.

extension Span where Element == UInt8 {
  /// The big-endian integer that starts at `offset`. The caller has checked that it lies within.
  @inlinable @inline(__always)
  package func bigEndian<T: FixedWidthInteger & UnsignedInteger>(
    at offset: Int, as type: T.Type = T.self
  ) -> T {
    var value: T = 0
    for index in 0..<(T.bitWidth / 8) { value = value &<< 8 | T(self[offset + index]) }
    return value
  }
}

extension MutableSpan where Element == UInt8 {
  /// Stores `value` big-endian from `offset` on. The caller has checked that it fits.
  @inlinable @inline(__always)
  package mutating func store<T: FixedWidthInteger & UnsignedInteger>(
    bigEndian value: T, at offset: Int
  ) {
    var rest = value
    for index in (0..<(T.bitWidth / 8)).reversed() {
      self[offset + index] = UInt8(truncatingIfNeeded: rest)
      rest = rest &>> 8
    }
  }
}

extension [UInt8] {
  /// Appends `value` big-endian.
  mutating func append<T: FixedWidthInteger & UnsignedInteger>(bigEndian value: T) {
    for shift in stride(from: T.bitWidth - 8, through: 0, by: -8) {
      append(UInt8(truncatingIfNeeded: value &>> T(shift)))
    }
  }
}
