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
    let first = firstEnding(atOrAfter: range.lowerBound)
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
    for range in ranges[firstEnding(atOrAfter: start)...] {
      guard range.lowerBound < whole.upperBound else { break }
      if range.lowerBound > start { gaps.append(start..<range.lowerBound) }
      start = max(start, range.upperBound)
    }
    if start < whole.upperBound { gaps.append(start..<whole.upperBound) }
    return gaps
  }

  /// The index of the first range that ends at or after a position.
  private func firstEnding(atOrAfter position: UInt64) -> Int {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound < position { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
