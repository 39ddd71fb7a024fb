// SPDX-License-Identifier: Apache-2.0
internal import Glibc
internal import SystemPackage

extension Errno {
  /// The errno of the call that just failed.
  static var last: Errno { Errno(rawValue: Glibc.errno) }
}
