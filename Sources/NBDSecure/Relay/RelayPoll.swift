// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// poll(2) over the three descriptors of a relay, its array allocated once.
@safe
final class RelayPoll {
  /// Which descriptor.
  enum Place: Int { case wake, plain, channel }

  private let entries: UnsafeMutablePointer<pollfd>

  /// - Parameter wake: an eventfd that is always watched.
  init(wake: Int32) {
    unsafe entries = .allocate(capacity: 3)
    for place in 0..<3 { unsafe entries[place] = pollfd(fd: -1, events: 0, revents: 0) }
    unsafe entries[Place.wake.rawValue] = pollfd(fd: wake, events: Int16(POLLIN), revents: 0)
  }

  deinit { unsafe entries.deallocate() }

  /// Watches a descriptor; with neither direction wanted it is left out, since poll(2) would
  /// report its end over and over.
  func watch(_ place: Place, _ descriptor: Int32, read: Bool, write: Bool) {
    unsafe entries[place.rawValue].fd = read || write ? descriptor : -1
    unsafe entries[place.rawValue].events =
      (read ? Int16(POLLIN) : 0) | (write ? Int16(POLLOUT) : 0)
  }

  /// Waits; the error, if there was one. −1 milliseconds wait without end.
  func wait(milliseconds: Int32) -> Errno? {
    while unsafe poll(entries, 3, milliseconds) < 0 {
      guard errno == EINTR else { return Errno(rawValue: errno) }
    }
    return nil
  }

  /// Readable, or at its end.
  func isReadable(_ place: Place) -> Bool {
    let events = unsafe Int32(entries[place.rawValue].revents)
    return events & (POLLIN | POLLHUP | POLLERR) != 0
  }

  /// Writable, or at its end.
  func isWritable(_ place: Place) -> Bool {
    let events = unsafe Int32(entries[place.rawValue].revents)
    return events & (POLLOUT | POLLHUP | POLLERR) != 0
  }
}
