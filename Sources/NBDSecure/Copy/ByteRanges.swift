// SPDX-License-Identifier: Apache-2.0

/// A set of byte positions: disjoint ranges in order, none empty, none touching the next.
struct ByteRanges: Hashable, Sendable {
  private(set) var ranges: [Range<UInt64>] = []

  /// The empty set.
  init() {}

  /// The union of any ranges.
  init(_ ranges: some Sequence<Range<UInt64>>) {
    for range in ranges { insert(range) }
  }

  /// How many positions there are.
  var total: UInt64 { ranges.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) } }

  /// Adds a range; it may overlap what is there.
  mutating func insert(_ range: Range<UInt64>) {
    guard !range.isEmpty else { return }
    // Copies go mostly forwards: the place is near the end.
    var first = ranges.count
    while first > 0, ranges[first - 1].upperBound >= range.lowerBound { first -= 1 }
    var last = first
    var union = range
    while last < ranges.count, ranges[last].lowerBound <= range.upperBound {
      union =
        min(
          union.lowerBound, ranges[last].lowerBound)..<max(
          union.upperBound, ranges[last].upperBound)
      last += 1
    }
    ranges.replaceSubrange(first..<last, with: CollectionOfOne(union))
  }

  /// What of `whole` is not in the set.
  func gaps(in whole: Range<UInt64>) -> [Range<UInt64>] {
    var gaps: [Range<UInt64>] = []
    var start = whole.lowerBound
    for range in ranges where range.upperBound > start && range.lowerBound < whole.upperBound {
      if range.lowerBound > start { gaps.append(start..<range.lowerBound) }
      start = range.upperBound
    }
    if start < whole.upperBound { gaps.append(start..<whole.upperBound) }
    return gaps
  }
}
