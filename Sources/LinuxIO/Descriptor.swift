// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// The errno of the call that just failed.
@inline(__always)
func lastErrno() -> Errno { Errno(rawValue: Glibc.errno) }

/// An owned file descriptor, close-on-exec, closed when it goes out of scope.
package struct Descriptor: ~Copyable, Sendable {
  /// The number, for calls that borrow it. It stays owned here.
  package let raw: Int32

  /// Takes ownership of `raw`, which must be open and close-on-exec, and nobody else's.
  package init(owning raw: Int32) { self.raw = raw }

  /// Gives the number away; the caller closes it.
  package consuming func release() -> Int32 {
    let raw = raw
    discard self
    return raw
  }

  /// A second descriptor for the same open file.
  package borrowing func duplicate() throws(Errno) -> Descriptor {
    try Descriptor(checking: clinux_duplicate(raw, 3))
  }

  /// Takes ownership of what a system call returned, or throws its errno.
  init(checking result: Int32) throws(Errno) {
    guard result >= 0 else { throw lastErrno() }
    raw = result
  }

  deinit { _ = Glibc.close(raw) }
}

/// Turns a `-1` result into the errno that came with it.
@inline(__always) @discardableResult
func check(_ result: Int32) throws(Errno) -> Int32 {
  guard result >= 0 else { throw lastErrno() }
  return result
}

/// Makes reads and writes of the descriptor return at once, or block.
package func setNonBlocking(_ descriptor: Int32, _ on: Bool = true) throws(Errno) {
  try check(clinux_set_nonblocking(descriptor, on ? 1 : 0))
}

/// Keeps a descriptor that was inherited from leaking into programs started from here.
package func setCloseOnExec(_ descriptor: Int32) throws(Errno) {
  try check(clinux_set_cloexec(descriptor, 1))
}

/// Opens a file with plain `open(2)`; `flags` are the `O_` values, close-on-exec is added.
package func openFile(
  _ path: String, flags: Int32, mode: UInt32 = 0
) throws(Errno) -> Descriptor {
  while true {
    let result = unsafe clinux_open(path, flags, mode)
    if result < 0 && Glibc.errno == EINTR { continue }
    return try Descriptor(checking: result)
  }
}
