// SPDX-License-Identifier: Apache-2.0

/// The header of a simple reply, 16 bytes (proto.md, "Simple reply message").
package struct SimpleReply: Hashable, Sendable {
  /// Bytes of the header; the data of a successful read follows.
  @inlinable package static var size: Int { 16 }

  /// NBD_SIMPLE_REPLY_MAGIC
  @inlinable package static var magic: UInt32 { 0x6744_6698 }

  /// The error as on the wire, 0 for success.
  package var rawError: UInt32
  /// The cookie of the request answered.
  package var cookie: UInt64

  /// A reply of success, or of `error`.
  @inlinable @inline(__always)
  package init(cookie: UInt64, error: NBDError? = nil) {
    self.cookie = cookie
    self.rawError = error?.rawValue ?? 0
  }

  /// The failure told, values outside the protocol's list as EINVAL; nil for success.
  @inlinable @inline(__always)
  package var error: NBDError? { rawError == 0 ? nil : NBDError(wireValue: rawError) }

  /// Decodes the first `size` bytes; nothing behind them is looked at. Allocates nothing.
  @inlinable @inline(__always)
  package init(decoding bytes: Span<UInt8>) throws(HeaderError) {
    guard bytes.count >= Self.size else { throw .tooShort }
    let magic: UInt32 = bytes.bigEndian(at: 0)
    guard magic == Self.magic else { throw .wrongMagic(magic) }
    rawError = bytes.bigEndian(at: 4)
    cookie = bytes.bigEndian(at: 8)
  }

  /// Writes the header to the first `size` bytes. Returns false, with nothing written, when there
  /// is less room. Allocates nothing.
  @inlinable @inline(__always) @discardableResult
  package func encode(into bytes: inout MutableSpan<UInt8>) -> Bool {
    guard bytes.count >= Self.size else { return false }
    bytes.store(bigEndian: Self.magic, at: 0)
    bytes.store(bigEndian: rawError, at: 4)
    bytes.store(bigEndian: cookie, at: 8)
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
