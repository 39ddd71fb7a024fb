// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// An eventfd: one thread signals, another polls for it.
package struct EventSignal: ~Copyable, Sendable {
  /// To poll for reading.
  package let descriptor: Descriptor

  package init() throws(Errno) { descriptor = try Descriptor(checking: clinux_eventfd()) }

  /// Makes the descriptor readable, from any thread.
  package borrowing func signal() {
    var one: UInt64 = 1
    _ = unsafe Glibc.write(descriptor.raw, &one, 8)
  }

  /// Takes all signals so far; whether there was one.
  @discardableResult
  package borrowing func drain() -> Bool {
    var count: UInt64 = 0
    return unsafe Glibc.read(descriptor.raw, &count, 8) == 8
  }

  /// Waits for a signal, and leaves it there. Throws `timedOut` at the deadline.
  package borrowing func wait(until deadline: Deadline) throws(Errno) {
    try LinuxIO.wait(descriptor, for: .read, until: deadline)
  }
}

/// A signal as a SignalQueue delivers it.
package struct ReceivedSignal: Hashable, Sendable {
  /// SIGTERM and its kind.
  package let number: Int32
  /// Who sent it, 0 when the kernel did.
  package let sender: Int32
  /// The user that sent it.
  package let user: UInt32
}

/// A signalfd. The signals are blocked in the calling thread and in threads started later, so make
/// it before any other thread.
package struct SignalQueue: ~Copyable, Sendable {
  /// To poll for reading.
  package let descriptor: Descriptor

  package init(_ signals: [Int32]) throws(Errno) {
    descriptor = try unsafe Descriptor(checking: clinux_signalfd(signals, signals.count))
  }

  /// The next signal that came, nil when there is none.
  package borrowing func next() throws(Errno) -> ReceivedSignal? {
    var pid: Int32 = 0
    var uid: UInt32 = 0
    let number = try unsafe check(clinux_signal_read(descriptor.raw, &pid, &uid))
    return number == 0 ? nil : ReceivedSignal(number: number, sender: pid, user: uid)
  }
}

/// Whether the process does not hear a signal, as one that a script started in the background.
package func isIgnored(signal: Int32) -> Bool { clinux_signal_is_ignored(signal) != 0 }

/// Ends the process as the signal does that is not taken care of.
package func endBySignal(_ number: Int32) -> Never { clinux_end_by_signal(number) }

/// A timerfd on the monotonic clock.
package struct Timer: ~Copyable, Sendable {
  /// To poll for reading.
  package let descriptor: Descriptor

  package init() throws(Errno) { descriptor = try Descriptor(checking: clinux_timerfd()) }

  /// Fires once, that long from now; a time of zero or less fires at once.
  package borrowing func arm(seconds: Double) throws(Errno) {
    let nanoseconds = min(max(seconds, 0), 1e9) * 1e9
    try check(clinux_timerfd_arm(descriptor.raw, max(UInt64(nanoseconds), 1)))
  }

  /// Stops it.
  package borrowing func disarm() throws(Errno) { try check(clinux_timerfd_arm(descriptor.raw, 0)) }

  /// Takes the expiry; whether there was one.
  @discardableResult
  package borrowing func drain() -> Bool {
    var count: UInt64 = 0
    return unsafe Glibc.read(descriptor.raw, &count, 8) == 8
  }
}
