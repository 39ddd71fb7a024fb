// SPDX-License-Identifier: Apache-2.0
package import SystemPackage

/// What the kernel would not do.
package struct KernelError: Error, Hashable, Sendable {
  /// Who must act, and how.
  package enum Kind: Hashable, Sendable {
    /// The nbd driver is neither there nor loadable.
    case noDriver
    /// The driver is there without its netlink family, or netlink is closed to us.
    case noNetlink
    /// The right is missing: not root, or not in the initial namespace.
    case notPermitted
    /// The device is in use.
    case busy
    /// There is no such device.
    case noSuchDevice
    /// The kernel cannot have a device of this size or block size.
    case unsupported
    /// A request that the kernel refused for any other reason.
    case refused
    /// The kernel did not get there before the deadline.
    case timedOut
    /// What came from the kernel makes no sense to us.
    case malformed
    /// No kernel TLS for this version and cipher.
    case noKernelTLS
  }

  package let kind: Kind
  /// Why, one line.
  package let message: String
  /// What to do, where that helps.
  package let hint: String?
  /// What the system call returned.
  package let errno: Errno?

  package init(_ kind: Kind, _ message: String, hint: String? = nil, errno: Errno? = nil) {
    self.kind = kind
    self.message = message
    self.hint = hint
    self.errno = errno
  }
}

extension KernelError: CustomStringConvertible {
  package var description: String { message }
}

extension KernelError {
  static let loadHint = "load the driver: modprobe nbd"
  static let rootHint = "run it as root"

  /// The driver is missing altogether.
  package static let noDriver = KernelError(
    .noDriver, "this kernel has no nbd driver", hint: loadHint)
}
