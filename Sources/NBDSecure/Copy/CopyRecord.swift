// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import SystemPackage

/// The side file of a copy, kept up to date.
struct CopyRecord {
  var state: CopyState
  let path: String

  /// Records that `done`, and no more, is on stable storage.
  mutating func write(_ done: ByteRanges) throws(NBDSecureError) {
    state.done = done.ranges.map { [$0.lowerBound, $0.upperBound] }
    try state.write(to: path)
  }

  func remove() { try? OwnFile.remove(path) }
}

/// Tells how far a copy is.
struct CopyMeter {
  /// Seconds over which the rate is smoothed.
  private static let memory = 5.0

  private let tell: (@Sendable (CopyProgress) -> Void)?
  private var now: CopyProgress
  private var measuredAt = monotonicNanoseconds()

  init(total: UInt64?, done: UInt64, tell: (@Sendable (CopyProgress) -> Void)?) {
    self.tell = tell
    now = CopyProgress(phase: .copying, done: done, total: total, rate: 0, remaining: nil)
  }

  /// So many bytes are done.
  mutating func update(_ done: UInt64) {
    let moment = monotonicNanoseconds()
    let seconds = Double(moment &- measuredAt) / 1e9
    guard seconds > 0.1 else { return }
    let rate = Double(done &- min(now.done, done)) / seconds
    let weight = now.rate == 0 ? 1 : min(1, seconds / Self.memory)
    now.rate += (rate - now.rate) * weight
    now.done = done
    measuredAt = moment
    now.remaining = now.total.flatMap { total in
      now.rate > 0 ? Double(total - min(total, done)) / now.rate : nil
    }
    tell?(now)
  }

  /// Another phase begins.
  mutating func enter(_ phase: CopyProgress.Phase) {
    now = CopyProgress(phase: phase, done: 0, total: now.total, rate: 0, remaining: nil)
    measuredAt = monotonicNanoseconds()
    tell?(now)
  }
}

/// The threads of a copy, joined all at once.
struct CopyThreads {
  private var ends: [EventSignalBox] = []

  mutating func start(
    name: String, stackSize: Int, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) {
    let end = try EventSignalBox()
    try spawnDetachedThread(name: name, stackSize: stackSize) {
      body()
      end.signal()
    }
    ends.append(end)
  }

  /// Waits until all have ended.
  mutating func join() {
    for end in ends {
      try? end.event.wait(until: .never)
      end.event.drain()
    }
    ends = []
  }
}
