// SPDX-License-Identifier: Apache-2.0

/// Magic numbers and sizes of the handshake (proto.md, "Handshake").
enum Handshake {
  /// INIT_PASSWD, "NBDMAGIC"
  static let initialMagic: UInt64 = 0x4e42_444d_4147_4943
  /// "IHAVEOPT": the newstyle greeting, and the start of every option
  static let optionMagic: UInt64 = 0x4948_4156_454f_5054
  /// cliserv_magic: the oldstyle greeting
  static let oldstyleMagic: UInt64 = 0x0000_4202_8186_1253
  /// Magic number of option replies
  static let replyMagic: UInt64 = 0x0003_e889_0455_65a9

  /// Reserved bytes after an export's size and flags, "zeroes"; their value is not looked at.
  static let reservedLength = 124
  /// Size (8), 32-bit flags, reserved bytes: the rest of an oldstyle greeting.
  static let oldstyleRestLength = 12 + reservedLength
  /// Size (8) and 16-bit flags: the answer to NBD_OPT_EXPORT_NAME.
  static let exportAnswerLength = 10
  /// Magic, option, type, length.
  static let replyHeaderLength = 20
  /// Magic, option, length.
  static let optionHeaderLength = 16
}

/// Handshake flags: the server's, and with the same bits the client's (proto.md, "Flag fields").
struct HandshakeFlags: OptionSet, Hashable, Sendable {
  let rawValue: UInt32

  /// NBD_FLAG_FIXED_NEWSTYLE, NBD_FLAG_C_FIXED_NEWSTYLE
  static let fixedNewstyle = HandshakeFlags(rawValue: 1 << 0)
  /// NBD_FLAG_NO_ZEROES, NBD_FLAG_C_NO_ZEROES
  static let noZeroes = HandshakeFlags(rawValue: 1 << 1)
}

/// Options (proto.md, "Option types").
enum Option: UInt32, Sendable {
  /// NBD_OPT_EXPORT_NAME
  case exportName = 1
  /// NBD_OPT_ABORT
  case abort = 2
  /// NBD_OPT_LIST
  case list = 3
  /// NBD_OPT_STARTTLS
  case startTLS = 5
  /// NBD_OPT_INFO
  case info = 6
  /// NBD_OPT_GO
  case go = 7
  /// NBD_OPT_STRUCTURED_REPLY
  case structuredReply = 8
  /// NBD_OPT_LIST_META_CONTEXT
  case listMetaContext = 9
  /// NBD_OPT_SET_META_CONTEXT
  case setMetaContext = 10
  /// NBD_OPT_EXTENDED_HEADERS
  case extendedHeaders = 11

  /// The C name.
  var name: String {
    switch self {
    case .exportName: "NBD_OPT_EXPORT_NAME"
    case .abort: "NBD_OPT_ABORT"
    case .list: "NBD_OPT_LIST"
    case .startTLS: "NBD_OPT_STARTTLS"
    case .info: "NBD_OPT_INFO"
    case .go: "NBD_OPT_GO"
    case .structuredReply: "NBD_OPT_STRUCTURED_REPLY"
    case .listMetaContext: "NBD_OPT_LIST_META_CONTEXT"
    case .setMetaContext: "NBD_OPT_SET_META_CONTEXT"
    case .extendedHeaders: "NBD_OPT_EXTENDED_HEADERS"
    }
  }

  /// The C name of an option as on the wire, or its number.
  static func name(of raw: UInt32) -> String { Option(rawValue: raw)?.name ?? "option \(raw)" }

  /// The option with its data, as sent by a client.
  func encoded(_ data: [UInt8] = []) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Handshake.optionHeaderLength + data.count)
    bytes.append(bigEndian: Handshake.optionMagic)
    bytes.append(bigEndian: rawValue)
    bytes.append(bigEndian: UInt32(clamping: data.count))
    return bytes + data
  }
}

/// Information types of NBD_REP_INFO (proto.md, "Option reply types").
enum InfoType: UInt16, Sendable {
  /// NBD_INFO_EXPORT
  case export = 0
  /// NBD_INFO_NAME
  case name = 1
  /// NBD_INFO_DESCRIPTION
  case description = 2
  /// NBD_INFO_BLOCK_SIZE
  case blockSize = 3
}
