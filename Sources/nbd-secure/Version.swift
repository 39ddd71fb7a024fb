// SPDX-License-Identifier: Apache-2.0
import NBDSecure

/// What `--version` prints.
enum Version {
  static let text = "nbd-secure \(libraryVersion) (GnuTLS \(gnuTLSVersion))"
}
