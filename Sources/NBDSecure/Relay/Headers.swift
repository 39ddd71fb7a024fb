// SPDX-License-Identifier: Apache-2.0
import NBDProtocol

// Protocol headers in raw memory, where the relay's buffers are.

/// The request that begins at `bytes`; nil when it is none.
@inline(__always)
func decodeRequest(_ bytes: UnsafeRawBufferPointer) -> Request? {
  let elements = unsafe bytes.assumingMemoryBound(to: UInt8.self)
  return try? unsafe Request(decoding: elements.span)
}

/// The simple reply that begins at `bytes`; nil when it is none.
@inline(__always)
func decodeReply(_ bytes: UnsafeRawBufferPointer) -> SimpleReply? {
  let elements = unsafe bytes.assumingMemoryBound(to: UInt8.self)
  return try? unsafe SimpleReply(decoding: elements.span)
}

/// Writes a request header.
@inline(__always)
func encode(_ request: Request, into bytes: UnsafeMutableRawBufferPointer) {
  let elements = unsafe bytes.assumingMemoryBound(to: UInt8.self)
  var span = unsafe elements.mutableSpan
  request.encode(into: &span)
}

/// Writes a reply header.
@inline(__always)
func encode(_ reply: SimpleReply, into bytes: UnsafeMutableRawBufferPointer) {
  let elements = unsafe bytes.assumingMemoryBound(to: UInt8.self)
  var span = unsafe elements.mutableSpan
  reply.encode(into: &span)
}
