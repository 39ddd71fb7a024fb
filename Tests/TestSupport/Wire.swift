// SPDX-License-Identifier: Apache-2.0

/// The NBD protocol from the server's side, as bytes: what an honest server would send, for scripts
/// to bend. Written from the protocol document, sharing nothing with the code under test.
package enum Wire {
  /// NBDMAGIC
  package static let initialMagic: UInt64 = 0x4e42_444d_4147_4943
  /// IHAVEOPT
  package static let optionMagic: UInt64 = 0x4948_4156_454f_5054
  /// The magic of option replies.
  package static let optionReplyMagic: UInt64 = 0x0003_e889_0455_65a9
  /// cliserv_magic of oldstyle servers.
  package static let oldstyleMagic: UInt64 = 0x0000_4202_8186_1253

  /// Big-endian bytes.
  package static func be<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
  }

  /// The integer that big-endian bytes stand for.
  package static func integer(_ bytes: some Sequence<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// A newstyle greeting; 3 is fixed newstyle with no-zeroes.
  package static func greeting(flags: UInt16 = 3) -> [UInt8] {
    be(initialMagic) + be(optionMagic) + be(flags)
  }

  /// An oldstyle greeting.
  package static func oldstyleGreeting(size: UInt64, flags: UInt32 = 1) -> [UInt8] {
    be(initialMagic) + be(oldstyleMagic) + be(size) + be(flags) + [UInt8](repeating: 0, count: 124)
  }

  /// A reply to an option. `length` lies about the payload's length where it is given.
  package static func reply(
    to option: UInt32, _ type: UInt32, _ payload: [UInt8] = [], length: UInt32? = nil,
    magic: UInt64 = optionReplyMagic
  ) -> [UInt8] {
    be(magic) + be(option) + be(type) + be(length ?? UInt32(truncatingIfNeeded: payload.count))
      + payload
  }

  /// The payload of NBD_INFO_EXPORT; flags 1 is NBD_FLAG_HAS_FLAGS.
  package static func exportInfo(size: UInt64, flags: UInt16 = 1) -> [UInt8] {
    be(UInt16(0)) + be(size) + be(flags)
  }

  /// The payload of NBD_INFO_BLOCK_SIZE.
  package static func blockSizeInfo(minimum: UInt32, preferred: UInt32, maximum: UInt32) -> [UInt8]
  {
    be(UInt16(3)) + be(minimum) + be(preferred) + be(maximum)
  }

  /// NBD_OPT_* numbers.
  package enum Option {
    package static let exportName: UInt32 = 1
    package static let abort: UInt32 = 2
    package static let list: UInt32 = 3
    package static let startTLS: UInt32 = 5
    package static let info: UInt32 = 6
    package static let go: UInt32 = 7
    package static let structuredReply: UInt32 = 8
    package static let setMetaContext: UInt32 = 10
  }

  /// NBD_REP_* numbers.
  package enum Reply {
    package static let ack: UInt32 = 1
    package static let server: UInt32 = 2
    package static let info: UInt32 = 3
    package static let errUnsupported: UInt32 = 0x8000_0001
    package static let errPolicy: UInt32 = 0x8000_0002
    package static let errInvalid: UInt32 = 0x8000_0003
    package static let errPlatform: UInt32 = 0x8000_0004
    package static let errTLSRequired: UInt32 = 0x8000_0005
    package static let errUnknown: UInt32 = 0x8000_0006
    package static let errShutdown: UInt32 = 0x8000_0007
    package static let errBlockSizeRequired: UInt32 = 0x8000_0008
  }
}

/// An option as a client sends it.
package struct ClientOption: Sendable, Equatable {
  /// NBD_OPT_* number.
  package var number: UInt32
  /// Its data.
  package var data: [UInt8]
}

extension FakeConnection {
  /// Sends the greeting and receives the client's flags.
  @discardableResult
  package func greet(flags: UInt16 = 3) throws(Failure) -> UInt32 {
    try send(Wire.greeting(flags: flags))
    return UInt32(Wire.integer(try receive(4)))
  }

  /// Receives one option.
  package func receiveOption() throws(Failure) -> ClientOption {
    let header = try receive(16)
    guard Wire.integer(header[..<8]) == Wire.optionMagic else {
      throw .tls(0, "the client sent an option with a wrong magic: \(header)")
    }
    let length = Int(Wire.integer(header[12..<16]))
    return ClientOption(number: UInt32(Wire.integer(header[8..<12])), data: try receive(length))
  }

  /// Receives STARTTLS, acknowledges it and does the handshake.
  package func acceptTLS(_ identity: TLSServerIdentity) throws(Failure) {
    try expect(Wire.Option.startTLS)
    try send(Wire.reply(to: Wire.Option.startTLS, Wire.Reply.ack))
    try startTLS(identity)
  }

  /// Receives one option, which must have the given number.
  @discardableResult
  package func expect(_ number: UInt32) throws(Failure) -> ClientOption {
    let option = try receiveOption()
    guard option.number == number else {
      throw .tls(0, "the client sent option \(option.number), not \(number)")
    }
    return option
  }
}

extension PKI {
  /// The honest server's identity, for fake servers.
  package var identity: TLSServerIdentity {
    .x509(certificate: server + "/server-cert.pem", key: server + "/server-key.pem")
  }
}
