// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO

/// The end of a command that a user interrupts, or the system asks to end.
enum Interruption {
  /// Says `lastWords` when SIGINT or SIGTERM comes, and ends by that signal, so that a shell knows.
  /// Call it before any other thread is started.
  static func watch(_ lastWords: @escaping @Sendable () -> Void) {
    // Started in the background by a script, a command is not to hear ^C.
    let wanted = [SIGINT, SIGTERM].filter { !isIgnored(signal: $0) }
    guard !wanted.isEmpty, let signals = try? SignalQueue(wanted) else { return }
    let queue = Queue(signals)
    try? spawnDetachedThread(name: "signals") {
      while true {
        _ = try? wait(queue.signals.descriptor, for: .read, until: .never)
        guard let signal = try? queue.signals.next() else { continue }
        lastWords()
        endBySignal(signal.number)
      }
    }
  }

  private final class Queue: Sendable {
    let signals: SignalQueue
    init(_ signals: consuming SignalQueue) { self.signals = signals }
  }
}
