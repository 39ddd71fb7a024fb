// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// What to wait for on a descriptor, and what `poll` found (POLLIN and its kind).
package struct PollEvents: OptionSet, Sendable {
  package let rawValue: Int16
  package init(rawValue: Int16) { self.rawValue = rawValue }

  /// POLLIN: bytes, or the end of the stream, can be read.
  package static let read = PollEvents(rawValue: 0x01)
  /// POLLOUT: bytes can be written.
  package static let write = PollEvents(rawValue: 0x04)
  /// POLLERR: an error waits. Always reported.
  package static let error = PollEvents(rawValue: 0x08)
  /// POLLHUP: the other side is gone. Always reported.
  package static let hangUp = PollEvents(rawValue: 0x10)
  /// POLLNVAL: the descriptor is not open. Always reported.
  package static let invalid = PollEvents(rawValue: 0x20)
  /// POLLRDHUP: the other side will write no more.
  package static let readHangUp = PollEvents(rawValue: 0x2000)
}

/// Waits until `descriptor` is ready, or broken, so that the next call on it does not block.
/// Throws `timedOut` when the deadline passes first.
@discardableResult
package func wait(
  _ descriptor: Int32, for events: PollEvents, until deadline: Deadline
) throws(Errno) -> PollEvents {
  var entry = pollfd(fd: descriptor, events: events.rawValue, revents: 0)
  while true {
    let ready = unsafe poll(&entry, 1, deadline.remainingMilliseconds)
    if ready > 0 { return PollEvents(rawValue: entry.revents) }
    if ready == 0 {
      if deadline.hasPassed { throw .timedOut }
    } else if Glibc.errno != EINTR {
      throw lastErrno()
    }
  }
}

/// The same for a descriptor owned by the caller.
@discardableResult
package func wait(
  _ descriptor: borrowing Descriptor, for events: PollEvents, until deadline: Deadline
) throws(Errno) -> PollEvents {
  try wait(descriptor.raw, for: events, until: deadline)
}

/// Sleeps, at most until the deadline.
package func sleep(seconds: Double, until deadline: Deadline = .never) {
  let end = min(Deadline.after(seconds: seconds), deadline)
  while !end.hasPassed {
    _ = poll(nil, 0, end.remainingMilliseconds)
  }
}

/// A fixed number of descriptors to poll together, allocated once, for loops that must not allocate.
@safe
package struct PollSet: ~Copyable {
  private let entries: UnsafeMutableBufferPointer<pollfd>

  /// A set with `count` places, all empty.
  package init(count: Int) {
    unsafe entries = .allocate(capacity: max(count, 1))
    unsafe entries.initialize(repeating: pollfd(fd: -1, events: 0, revents: 0))
  }

  deinit { unsafe entries.deallocate() }

  /// What to wait for at `place`. A negative descriptor leaves the place out. With no events only
  /// errors and hang-up are reported.
  package mutating func set(_ place: Int, _ descriptor: Int32, _ events: PollEvents) {
    unsafe entries[place] = pollfd(fd: descriptor, events: events.rawValue, revents: 0)
  }

  /// What the last `wait` found at `place`.
  package func found(_ place: Int) -> PollEvents {
    unsafe PollEvents(rawValue: entries[place].revents)
  }

  /// Waits until a place is ready or the deadline passes; how many are ready, 0 for none in time or
  /// an interruption by a signal.
  package mutating func wait(until deadline: Deadline) throws(Errno) -> Int {
    let ready = unsafe poll(
      entries.baseAddress, nfds_t(entries.count), deadline.remainingMilliseconds)
    if ready >= 0 { return Int(ready) }
    guard Glibc.errno == EINTR else { throw lastErrno() }
    for place in 0..<(unsafe entries.count) { unsafe entries[place].revents = 0 }
    return 0
  }
}
