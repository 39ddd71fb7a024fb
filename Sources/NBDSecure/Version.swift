// SPDX-License-Identifier: Apache-2.0
import TLS

/// The version of this library and program.
public let libraryVersion = "0.1.0"

/// The version of GnuTLS that is loaded.
public var gnuTLSVersion: String { TLSLibrary.version }
