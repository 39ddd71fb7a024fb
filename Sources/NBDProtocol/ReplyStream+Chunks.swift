// SPDX-License-Identifier: Apache-2.0

// Structured reply chunks, held against the request that they answer.
extension ReplyStream {
  /// Refuses before a byte of the payload is read what cannot be right or is too long.
  mutating func acceptChunk(_ header: ChunkHeader) throws(ReplyError) {
    guard let answered = awaited[header.cookie] else { throw .unasked }
    awaited[header.cookie]?.chunks += 1
    guard answered.chunks < limits.chunks else {
      throw ReplyError("the server sent a reply in more than \(limits.chunks) chunks")
    }
    let command = answered.request.command
    let length = Int(clamping: header.length)
    func expect(_ lengths: ClosedRange<Int>, for wanted: Command?) throws(ReplyError) {
      guard wanted == nil || command == wanted else {
        throw ReplyError("the server sent \(header.type.name) for a request of another kind")
      }
      guard lengths.contains(length) else {
        throw ReplyError("the server sent \(header.type.name) of \(length) bytes")
      }
    }
    switch header.type {
    case .none:
      try expect(0...0, for: nil)
      guard header.isDone else {
        throw ReplyError("the server sent an empty chunk that ends nothing")
      }
      try endChunk(header.cookie, isDone: true)
    case .offsetData:
      try expect(9...(8 + max(1, Int(clamping: answered.request.length))), for: .read)
      state = .payload(header, count: 8)
    case .offsetHole:
      try expect(12...12, for: .read)
      state = .payload(header, count: length)
    case .blockStatus:
      try expect(12...(4 + 8 * limits.extents), for: .blockStatus)
      guard length % 8 == 4 else {
        throw ReplyError("the server sent NBD_REPLY_TYPE_BLOCK_STATUS of \(length) bytes")
      }
      state = .payload(header, count: length)
    case let type where type.isError:
      try expect(6...(6 + limits.errorText + 8), for: nil)
      state = .payload(header, count: length)
    default: throw ReplyError("the server sent a chunk of unknown type: \(header.type.name)")
    }
  }

  mutating func acceptPayload(_ bytes: [UInt8], of header: ChunkHeader) throws(ReplyError) {
    guard let answered = awaited[header.cookie] else { throw .unasked }
    var reader = ByteReader(bytes)
    switch header.type {
    case .offsetData:
      let count = header.length &- 8
      let position = try cover(&reader, count, header, answered.request)
      state = .data(
        cookie: header.cookie, position: position, count: Int(clamping: count),
        isDone: header.isDone)
      return
    case .offsetHole:
      let offset = reader
      _ = reader.integer(UInt64.self)
      guard let count = reader.integer(UInt32.self), count > 0 else {
        throw ReplyError("the server sent a hole of no length")
      }
      reader = offset
      let position = try cover(&reader, count, header, answered.request)
      tell(.zeroes(cookie: header.cookie, position: position, count: Int(clamping: count)))
    case .blockStatus: try acceptExtents(&reader, header)
    default: try acceptFailure(&reader, header, answered.request)
    }
    try endChunk(header.cookie, isDone: header.isDone)
  }

  /// Notes that a chunk answers `count` bytes from the offset that the reader has next; their
  /// position within the request. Overlaps and bytes outside of the request are refused.
  private mutating func cover(
    _ reader: inout ByteReader, _ count: UInt32, _ header: ChunkHeader, _ request: Request
  ) throws(ReplyError) -> Int {
    guard let offset = reader.integer(UInt64.self), offset >= request.offset,
      let position = UInt32(exactly: offset - request.offset), position <= request.length,
      count <= request.length - position
    else { throw ReplyError("the server sent data from outside of what was asked for") }
    guard awaited[header.cookie]?.coverage.insert(position..<(position + count)) == true else {
      throw ReplyError("the server sent the same data twice")
    }
    return Int(clamping: position)
  }

  private mutating func acceptExtents(
    _ reader: inout ByteReader, _ header: ChunkHeader
  ) throws(ReplyError) {
    guard let context = reader.integer(UInt32.self),
      agreement.contexts.contains(where: { $0.identifier == context })
    else { throw ReplyError("the server told of a context that was not selected") }
    guard awaited[header.cookie]?.told.insert(context).inserted == true else {
      throw ReplyError("the server told of one context twice")
    }
    var extents: [Extent] = []
    extents.reserveCapacity(reader.count / 8)
    while let length = reader.integer(UInt32.self), let flags = reader.integer(UInt32.self) {
      guard length > 0 else { throw ReplyError("the server sent an extent of no length") }
      extents.append(Extent(length: length, flags: flags))
    }
    tell(.extents(cookie: header.cookie, context: context, extents))
  }

  /// NBD_REPLY_TYPE_ERROR, NBD_REPLY_TYPE_ERROR_OFFSET, and what is like them. The first failure of a
  /// reply is the one that is told.
  private mutating func acceptFailure(
    _ reader: inout ByteReader, _ header: ChunkHeader, _ request: Request
  ) throws(ReplyError) {
    guard let code = reader.integer(UInt32.self), let count = reader.integer(UInt16.self),
      let text = reader.take(Int(count))
    else {
      throw ReplyError("the server sent \(header.type.name) whose text is longer than itself")
    }
    guard code != 0 else { throw ReplyError("the server sent an error that is none") }
    var offset: UInt64?
    switch header.type {
    case .error:
      guard reader.count == 0 else {
        throw ReplyError("the server sent NBD_REPLY_TYPE_ERROR with bytes behind its text")
      }
    case .errorOffset:
      guard reader.count == 8, let place = reader.integer(UInt64.self), place >= request.offset,
        place - request.offset <= UInt64(request.length)
      else { throw ReplyError("the server sent NBD_REPLY_TYPE_ERROR_OFFSET of no valid offset") }
      offset = place
    default: break
    }
    let printable = Printable.text(text)
    let failure = RequestFailure(
      error: NBDError(wireValue: code), text: printable.isEmpty ? nil : printable, offset: offset)
    if awaited[header.cookie]?.failure == nil { awaited[header.cookie]?.failure = failure }
  }
}
