// SPDX-License-Identifier: Apache-2.0

/// Error values of replies (proto.md, "Error values"). The wire values are Linux's errno values.
package enum NBDError: UInt32, Error, Sendable, CaseIterable {
  /// NBD_EPERM
  case eperm = 1
  /// NBD_EIO
  case eio = 5
  /// NBD_ENOMEM
  case enomem = 12
  /// NBD_EINVAL
  case einval = 22
  /// NBD_ENOSPC
  case enospc = 28
  /// NBD_EOVERFLOW
  case eoverflow = 75
  /// NBD_ENOTSUP
  case enotsup = 95
  /// NBD_ESHUTDOWN: the server is going away; the client must end the session
  case eshutdown = 108

  /// The error of a reply. A value outside the list counts as EINVAL, as the protocol advises. The
  /// value 0 is success and no error: ask `SimpleReply.error`.
  @inlinable
  package init(wireValue: UInt32) { self = NBDError(rawValue: wireValue) ?? .einval }

  /// The Linux errno of the same meaning.
  @inlinable
  package var errno: Int32 { Int32(rawValue) }

  /// The value to send for a Linux errno: EROFS is EPERM, EDQUOT and EFBIG are ENOSPC (proto.md),
  /// what has no counterpart is EINVAL.
  package init(errno: Int32) {
    switch errno {
    case 30: self = .eperm  // EROFS
    case 27, 122: self = .enospc  // EFBIG, EDQUOT
    default: self = UInt32(exactly: errno).flatMap(NBDError.init(rawValue:)) ?? .einval
    }
  }
}
