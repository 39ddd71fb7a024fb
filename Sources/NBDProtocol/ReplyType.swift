// SPDX-License-Identifier: Apache-2.0

/// The type of an option reply (proto.md, "Option reply types"). Open: a server may send any value.
struct ReplyType: RawRepresentable, Hashable, Sendable {
  let rawValue: UInt32

  /// NBD_REP_ACK
  static let ack = ReplyType(rawValue: 1)
  /// NBD_REP_SERVER
  static let server = ReplyType(rawValue: 2)
  /// NBD_REP_INFO
  static let info = ReplyType(rawValue: 3)
  /// NBD_REP_META_CONTEXT
  static let metaContext = ReplyType(rawValue: 4)
  /// NBD_REP_ERR_UNSUP
  static let errUnsup = ReplyType(rawValue: 1 << 31 | 1)
  /// NBD_REP_ERR_POLICY
  static let errPolicy = ReplyType(rawValue: 1 << 31 | 2)
  /// NBD_REP_ERR_INVALID
  static let errInvalid = ReplyType(rawValue: 1 << 31 | 3)
  /// NBD_REP_ERR_PLATFORM
  static let errPlatform = ReplyType(rawValue: 1 << 31 | 4)
  /// NBD_REP_ERR_TLS_REQD
  static let errTLSRequired = ReplyType(rawValue: 1 << 31 | 5)
  /// NBD_REP_ERR_UNKNOWN
  static let errUnknown = ReplyType(rawValue: 1 << 31 | 6)
  /// NBD_REP_ERR_SHUTDOWN
  static let errShutdown = ReplyType(rawValue: 1 << 31 | 7)
  /// NBD_REP_ERR_BLOCK_SIZE_REQD
  static let errBlockSizeRequired = ReplyType(rawValue: 1 << 31 | 8)
  /// NBD_REP_ERR_TOO_BIG
  static let errTooBig = ReplyType(rawValue: 1 << 31 | 9)
  /// NBD_REP_ERR_EXT_HEADER_REQD
  static let errExtendedHeadersRequired = ReplyType(rawValue: 1 << 31 | 10)

  /// All errors, known or not, have the top bit set.
  var isError: Bool { rawValue & 1 << 31 != 0 }

  /// The C name, or the number.
  var name: String {
    switch self {
    case .ack: "NBD_REP_ACK"
    case .server: "NBD_REP_SERVER"
    case .info: "NBD_REP_INFO"
    case .metaContext: "NBD_REP_META_CONTEXT"
    case .errUnsup: "NBD_REP_ERR_UNSUP"
    case .errPolicy: "NBD_REP_ERR_POLICY"
    case .errInvalid: "NBD_REP_ERR_INVALID"
    case .errPlatform: "NBD_REP_ERR_PLATFORM"
    case .errTLSRequired: "NBD_REP_ERR_TLS_REQD"
    case .errUnknown: "NBD_REP_ERR_UNKNOWN"
    case .errShutdown: "NBD_REP_ERR_SHUTDOWN"
    case .errBlockSizeRequired: "NBD_REP_ERR_BLOCK_SIZE_REQD"
    case .errTooBig: "NBD_REP_ERR_TOO_BIG"
    case .errExtendedHeadersRequired: "NBD_REP_ERR_EXT_HEADER_REQD"
    default: (isError ? "unknown error 0x" : "reply type 0x") + Printable.hex(rawValue)
    }
  }
}

/// The 20 bytes in front of every option reply.
struct ReplyHeader: Hashable, Sendable {
  let option: UInt32
  let type: ReplyType
  let length: UInt32

  init(option: UInt32, type: ReplyType, length: UInt32) {
    self.option = option
    self.type = type
    self.length = length
  }

  /// Nil for a wrong magic number or fewer bytes than a header has.
  init?(decoding bytes: [UInt8]) {
    var reader = ByteReader(bytes)
    guard reader.integer(UInt64.self) == Handshake.replyMagic,
      let option = reader.integer(UInt32.self), let type = reader.integer(UInt32.self),
      let length = reader.integer(UInt32.self)
    else { return nil }
    self.init(option: option, type: ReplyType(rawValue: type), length: length)
  }

  /// The header with its data, as sent by a server.
  static func encoded(to option: UInt32, _ type: ReplyType, _ data: [UInt8] = []) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Handshake.replyHeaderLength + data.count)
    bytes.append(bigEndian: Handshake.replyMagic)
    bytes.append(bigEndian: option)
    bytes.append(bigEndian: type.rawValue)
    bytes.append(bigEndian: UInt32(clamping: data.count))
    return bytes + data
  }
}
