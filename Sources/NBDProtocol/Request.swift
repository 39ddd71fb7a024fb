// SPDX-License-Identifier: Apache-2.0

/// The header of a request, 28 bytes (proto.md, "Request message").
package struct Request: Hashable, Sendable {
  /// Bytes of the header; the payload of a write follows.
  @inlinable package static var size: Int { 28 }

  /// NBD_REQUEST_MAGIC
  @inlinable package static var magic: UInt32 { 0x2560_9513 }

  package var flags: CommandFlags
  /// The command as on the wire; a client may send one that we do not know.
  package var rawCommand: UInt16
  /// Chosen by the client, opaque to the server, repeated in the reply.
  package var cookie: UInt64
  /// Bytes from the start of the export.
  package var offset: UInt64
  /// Bytes to work on.
  package var length: UInt32

  @inlinable @inline(__always)
  package init(
    _ command: Command, flags: CommandFlags = [], cookie: UInt64, offset: UInt64 = 0,
    length: UInt32 = 0
  ) {
    self.flags = flags
    self.rawCommand = command.rawValue
    self.cookie = cookie
    self.offset = offset
    self.length = length
  }

  /// The command, nil when it is none of the protocol's.
  @inlinable @inline(__always)
  package var command: Command? { Command(rawValue: rawCommand) }

  /// Bytes that follow the header on the wire.
  @inlinable @inline(__always)
  package var payloadLength: UInt32 { rawCommand == Command.write.rawValue ? length : 0 }

  /// Decodes the first `size` bytes; nothing behind them is looked at. Allocates nothing.
  @inlinable @inline(__always)
  package init(decoding bytes: Span<UInt8>) throws(HeaderError) {
    guard bytes.count >= Self.size else { throw .tooShort }
    let magic: UInt32 = bytes.bigEndian(at: 0)
    guard magic == Self.magic else { throw .wrongMagic(magic) }
    flags = CommandFlags(rawValue: bytes.bigEndian(at: 4))
    rawCommand = bytes.bigEndian(at: 6)
    cookie = bytes.bigEndian(at: 8)
    offset = bytes.bigEndian(at: 16)
    length = bytes.bigEndian(at: 24)
  }

  /// Writes the header to the first `size` bytes. Returns false, with nothing written, when there
  /// is less room. Allocates nothing.
  @inlinable @inline(__always) @discardableResult
  package func encode(into bytes: inout MutableSpan<UInt8>) -> Bool {
    guard bytes.count >= Self.size else { return false }
    bytes.store(bigEndian: Self.magic, at: 0)
    bytes.store(bigEndian: flags.rawValue, at: 4)
    bytes.store(bigEndian: rawCommand, at: 6)
    bytes.store(bigEndian: cookie, at: 8)
    bytes.store(bigEndian: offset, at: 16)
    bytes.store(bigEndian: length, at: 24)
    return true
  }

  /// The header as bytes of its own, for where speed does not matter.
  package var encoded: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.size)
    var span = bytes.mutableSpan
    encode(into: &span)
    return bytes
  }
}

/// Why bytes are no header of the transmission phase.
package enum HeaderError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Fewer bytes than a header has.
  case tooShort
  /// Not the magic number expected here: the stream is out of step or hostile.
  case wrongMagic(UInt32)

  /// NBD_STRUCTURED_REPLY_MAGIC, which nobody may send where it was not negotiated
  package static let structuredReplyMagic: UInt32 = 0x668e_33ef

  /// One line for the user.
  package var description: String {
    switch self {
    case .tooShort: "header cut short"
    case .wrongMagic(Self.structuredReplyMagic): "structured reply, which was not negotiated"
    case .wrongMagic(let magic): "wrong magic number 0x" + Printable.hex(magic, digits: 8)
    }
  }
}
