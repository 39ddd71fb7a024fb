// SPDX-License-Identifier: Apache-2.0

/// Transmission flags: what a server says of an export (proto.md, "Transmission flags").
package struct ExportFlags: OptionSet, Hashable, Sendable {
  package let rawValue: UInt16

  package init(rawValue: UInt16) { self.rawValue = rawValue }

  /// NBD_FLAG_HAS_FLAGS
  package static let hasFlags = ExportFlags(rawValue: 1 << 0)
  /// NBD_FLAG_READ_ONLY
  package static let readOnly = ExportFlags(rawValue: 1 << 1)
  /// NBD_FLAG_SEND_FLUSH
  package static let sendFlush = ExportFlags(rawValue: 1 << 2)
  /// NBD_FLAG_SEND_FUA
  package static let sendFUA = ExportFlags(rawValue: 1 << 3)
  /// NBD_FLAG_ROTATIONAL
  package static let rotational = ExportFlags(rawValue: 1 << 4)
  /// NBD_FLAG_SEND_TRIM
  package static let sendTrim = ExportFlags(rawValue: 1 << 5)
  /// NBD_FLAG_SEND_WRITE_ZEROES
  package static let sendWriteZeroes = ExportFlags(rawValue: 1 << 6)
  /// NBD_FLAG_SEND_DF
  package static let sendDF = ExportFlags(rawValue: 1 << 7)
  /// NBD_FLAG_CAN_MULTI_CONN
  package static let canMultiConn = ExportFlags(rawValue: 1 << 8)
  /// NBD_FLAG_SEND_RESIZE
  package static let sendResize = ExportFlags(rawValue: 1 << 9)
  /// NBD_FLAG_SEND_CACHE
  package static let sendCache = ExportFlags(rawValue: 1 << 10)
  /// NBD_FLAG_SEND_FAST_ZERO
  package static let sendFastZero = ExportFlags(rawValue: 1 << 11)

  /// The flags with a meaning here; "clients SHOULD ignore unknown flags", so others are dropped
  /// where the server's word is read.
  package static let known = ExportFlags(rawValue: (1 << 12) - 1)

  /// Names for people and JSON, in the order of the bits: "read-only", "flush", ...
  package var names: [String] {
    Self.nameTable.compactMap { contains($0.flag) ? $0.name : nil }
  }

  private static let nameTable: [(flag: ExportFlags, name: String)] = [
    (.readOnly, "read-only"), (.sendFlush, "flush"), (.sendFUA, "fua"),
    (.rotational, "rotational"), (.sendTrim, "trim"), (.sendWriteZeroes, "write-zeroes"),
    (.sendDF, "df"), (.canMultiConn, "multi-conn"), (.sendResize, "resize"),
    (.sendCache, "cache"), (.sendFastZero, "fast-zero"),
  ]
}
