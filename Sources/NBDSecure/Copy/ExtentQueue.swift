// SPDX-License-Identifier: Apache-2.0

/// Runs of data and of zeroes in the order of their offsets, waiting to be handed out.
struct ExtentQueue: Sendable {
  private struct Run {
    var range: Range<UInt64>
    var isZero: Bool
  }

  private var runs: [Run] = []
  /// The first run that is left.
  private var first = 0
  /// Runs before it are aligned.
  private var aligned = 0
  /// Bytes waiting.
  private(set) var bytes: UInt64 = 0

  var isEmpty: Bool { first == runs.count }

  /// Adds a run behind the others.
  mutating func append(_ range: Range<UInt64>, isZero: Bool) {
    guard !range.isEmpty else { return }
    bytes += range.upperBound - range.lowerBound
    if runs.count > aligned, let last = runs.last, last.range.upperBound == range.lowerBound,
      last.isZero == isZero
    {
      runs[runs.count - 1].range = last.range.lowerBound..<range.upperBound
    } else {
      runs.append(Run(range: range, isZero: isZero))
    }
  }

  /// Makes the runs added since the last call begin and end at multiples of `alignment`, but for
  /// `end`: blocks that are not all zero are data. Returns where the runs end now, which can be a
  /// little before or behind where they ended.
  mutating func align(to alignment: UInt64, end: UInt64) -> UInt64 {
    guard alignment > 1, runs.count > aligned else { return runs.last?.range.upperBound ?? end }
    let added = runs[aligned...]
    let start = added.first?.range.lowerBound ?? 0
    let last = added.last?.range.upperBound ?? 0
    for run in added { bytes -= run.range.upperBound - run.range.lowerBound }
    runs.removeSubrange(aligned...)
    var stop = last == end ? end : last / alignment * alignment
    // Less than a block is known: take it for data rather than ask again.
    if stop <= start { stop = min(end, start / alignment * alignment + alignment) }
    var position = start
    for run in added where run.isZero {
      let from = (run.range.lowerBound + alignment - 1) / alignment * alignment
      let until =
        run.range.upperBound == end ? end : run.range.upperBound / alignment * alignment
      guard from < until, from >= position else { continue }
      append(position..<from, isZero: false)
      append(from..<until, isZero: true)
      position = until
    }
    if position < stop { append(position..<stop, isZero: false) }
    aligned = runs.count
    return stop
  }

  /// The next task, cut to size: pieces end at multiples of their length.
  mutating func take(_ settings: CopyPlan.Settings) -> CopyPlan.Task? {
    guard first < runs.count else { return nil }
    let run = runs[first]
    let longest = run.isZero ? settings.zeroPiece : settings.piece
    let boundary = run.range.lowerBound / longest * longest
    let end =
      run.range.upperBound - boundary > longest ? boundary + longest : run.range.upperBound
    let piece = run.range.lowerBound..<end
    bytes -= end - run.range.lowerBound
    if end == run.range.upperBound {
      first += 1
      if first > 1024 || first == runs.count {
        runs.removeSubrange(..<first)
        aligned = max(0, aligned - first)
        first = 0
      }
    } else {
      runs[first].range = end..<run.range.upperBound
    }
    return run.isZero ? .zeroes(piece) : .data(piece)
  }
}
