// SPDX-License-Identifier: Apache-2.0

/// The size constraints a server puts on requests, checked (proto.md, "Size constraints").
package struct BlockSizes: Hashable, Sendable {
  /// Largest minimum block size the protocol allows.
  package static let largestMinimum: UInt32 = 65_536

  /// What to assume of a server that says nothing: the protocol's advice for interoperability.
  package static let assumed = BlockSizes(checked: 512, 4096, 32 << 20)

  /// Alignment and smallest length of a request: a power of two, 1...65536.
  package let minimum: UInt32
  /// Smallest efficient request: a power of two, at least `minimum` and 512.
  package let preferred: UInt32
  /// Longest payload of one request, at least `preferred`; need not be a power of two.
  package let maximum: UInt32

  /// Throws when the three contradict the protocol or each other.
  package init(minimum: UInt32, preferred: UInt32, maximum: UInt32) throws(BlockSizesError) {
    func isPowerOfTwo(_ value: UInt32) -> Bool { value.nonzeroBitCount == 1 }
    guard isPowerOfTwo(minimum), minimum <= Self.largestMinimum else { throw .minimum(minimum) }
    guard isPowerOfTwo(preferred), preferred >= Swift.max(minimum, 512) else {
      throw .preferred(preferred, minimum: minimum)
    }
    guard maximum >= preferred else { throw .maximum(maximum, preferred: preferred) }
    self.init(checked: minimum, preferred, maximum)
  }

  private init(checked minimum: UInt32, _ preferred: UInt32, _ maximum: UInt32) {
    self.minimum = minimum
    self.preferred = preferred
    self.maximum = maximum
  }
}

/// Which of a server's block sizes makes no sense.
package enum BlockSizesError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Zero, not a power of two, or above 64 KiB.
  case minimum(UInt32)
  /// Not a power of two, or below the minimum or 512.
  case preferred(UInt32, minimum: UInt32)
  /// Below the preferred size.
  case maximum(UInt32, preferred: UInt32)

  /// One line for the user.
  package var description: String {
    switch self {
    case .minimum(let value):
      "minimum block size \(value) is not a power of two from 1 to \(BlockSizes.largestMinimum)"
    case .preferred(let value, let minimum):
      "preferred block size \(value) is not a power of two of at least \(max(minimum, 512))"
    case .maximum(let value, let preferred):
      "maximum payload size \(value) is below the preferred block size \(preferred)"
    }
  }
}
