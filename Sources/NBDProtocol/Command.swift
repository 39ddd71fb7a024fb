// SPDX-License-Identifier: Apache-2.0

/// What a request asks for (proto.md, "Request types").
package enum Command: UInt16, Sendable, CaseIterable {
  /// NBD_CMD_READ
  case read = 0
  /// NBD_CMD_WRITE: the only one followed by a payload
  case write = 1
  /// NBD_CMD_DISC: ends the session, has no reply
  case disc = 2
  /// NBD_CMD_FLUSH
  case flush = 3
  /// NBD_CMD_TRIM
  case trim = 4
  /// NBD_CMD_CACHE
  case cache = 5
  /// NBD_CMD_WRITE_ZEROES
  case writeZeroes = 6
  /// NBD_CMD_BLOCK_STATUS: only where structured replies and a context were negotiated
  case blockStatus = 7
}

/// Flags of one request (proto.md, "Command flags").
package struct CommandFlags: OptionSet, Hashable, Sendable {
  package let rawValue: UInt16

  @inlinable package init(rawValue: UInt16) { self.rawValue = rawValue }

  /// NBD_CMD_FLAG_FUA
  package static let fua = CommandFlags(rawValue: 1 << 0)
  /// NBD_CMD_FLAG_NO_HOLE
  package static let noHole = CommandFlags(rawValue: 1 << 1)
  /// NBD_CMD_FLAG_DF
  package static let df = CommandFlags(rawValue: 1 << 2)
  /// NBD_CMD_FLAG_REQ_ONE
  package static let reqOne = CommandFlags(rawValue: 1 << 3)
  /// NBD_CMD_FLAG_FAST_ZERO
  package static let fastZero = CommandFlags(rawValue: 1 << 4)
}
