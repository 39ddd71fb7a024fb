// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import Synchronization

// What the coordinator of a copy asks of the plan.
extension CopyPlan {
  /// Whether the pass is over; throws the failure that ended it early.
  func isOver() throws(NBDSecureError) -> Bool {
    try state.withLock { state throws(NBDSecureError) in
      if let failure = state.failure { throw failure }
      return state.isPassOver
    }
  }

  /// Whether nothing more is to be done, because all is or because something failed.
  var isStopped: Bool { state.withLock { $0.quits || $0.failure != nil } }

  /// What is done so far.
  var done: ByteRanges { state.withLock { $0.done } }

  /// Bytes done so far.
  var doneBytes: UInt64 { state.withLock { $0.done.total } }

  /// Asks a lane for a FLUSH that covers what is done now.
  func requestFlush() {
    state.withLock { state in
      guard state.flush == .none || state.flush == .done else { return }
      state.beforeFlush = state.done
      state.flush = .wanted
    }
    wakeLanes()
  }

  /// What the last FLUSH covers, once, when it was answered.
  func takeFlushed() -> ByteRanges? {
    state.withLock { state in
      guard state.flush == .done else { return nil }
      state.flush = .none
      return state.beforeFlush
    }
  }

  /// Whether a FLUSH is asked for or on its way.
  var isFlushing: Bool { state.withLock { $0.flush == .wanted || $0.flush == .sent } }

  /// Begins a pass that compares all of `whole`.
  func verify(_ whole: Range<UInt64>) {
    state.withLock { state in
      state.isVerifying = true
      state.map = .none
      state.done = ByteRanges()
      state.unmapped = whole.isEmpty ? [] : [whole]
    }
    wakeLanes()
  }

  /// Whether tasks are to compare instead of to copy.
  var isVerifying: Bool { state.withLock { $0.isVerifying } }

  /// Where the two sides first differ; nil where they do not.
  var difference: UInt64? { state.withLock { $0.difference } }

  /// Ends the lanes.
  func quit() {
    state.withLock { $0.quits = true }
    wakeLanes()
  }
}
