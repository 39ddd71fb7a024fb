// SPDX-License-Identifier: Apache-2.0
internal import CLinux
package import SystemPackage

/// The stack of our own threads: the default of 8 MiB would be locked in memory for each.
package let smallStackSize = 256 * 1024

private final class ThreadBody: Sendable {
  let name: String
  let body: @Sendable () -> Void

  init(name: String, body: @escaping @Sendable () -> Void) {
    self.name = name
    self.body = body
  }
}

private func startThread(
  name: String, stackSize: Int, detached: Bool, body: @escaping @Sendable () -> Void
) throws(Errno) -> UInt {
  let context = unsafe Unmanaged.passRetained(ThreadBody(name: name, body: body))
  var thread: UInt = 0
  let failed = unsafe clinux_thread_start(
    &thread, stackSize,
    { context in
      guard let context = unsafe context else { return nil }
      let start = unsafe Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue()
      _ = unsafe clinux_set_name(start.name)
      start.body()
      return nil
    }, context.toOpaque(), detached ? 1 : 0)
  guard failed == 0 else {
    unsafe context.release()
    throw Errno(rawValue: failed)
  }
  return thread
}

/// Runs `body` on a thread that nobody joins.
package func spawnDetachedThread(
  name: String, stackSize: Int = smallStackSize, _ body: @escaping @Sendable () -> Void
) throws(Errno) {
  _ = try startThread(name: name, stackSize: stackSize, detached: true, body: body)
}

/// A thread that is joined exactly once; one that goes out of scope unjoined is joined there.
package struct Thread: ~Copyable, Sendable {
  private let thread: UInt

  /// Starts it. The name is cut to 15 bytes by the kernel.
  package init(
    name: String, stackSize: Int = smallStackSize, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) {
    thread = try startThread(name: name, stackSize: stackSize, detached: false, body: body)
  }

  /// Waits until it has ended.
  package consuming func join() {}

  deinit { _ = clinux_thread_join(thread) }
}
