// SPDX-License-Identifier: Apache-2.0

/// The server's side of the transmission phase, simple and structured replies alike, as a pure state
/// machine: it says how many bytes to read next and what they mean, and holds every chunk against
/// the request that it answers. Export data itself does not pass through it.
///
/// Every length is bounded before it is read. After an error the stream is of no more use.
package struct ReplyStream: Sendable {
  /// What to read next.
  package enum Step: Hashable, Sendable {
    /// Exactly so many bytes, for `received(_:)`.
    case control(Int)
    /// Exactly so many bytes of data, which belong `position` bytes behind the offset of the request
    /// with that cookie; then `receivedData()`. Position and count lie within the request.
    case data(cookie: UInt64, position: Int, count: Int)
  }

  /// What replies said.
  package enum Event: Hashable, Sendable {
    /// So many bytes at that position within the request read as zeroes.
    case zeroes(cookie: UInt64, position: Int, count: Int)
    /// Extents from the request's offset on, at least one, under the context of that number.
    case extents(cookie: UInt64, context: UInt32, [Extent])
    /// The request is answered. Without a failure all of its data was there.
    case finished(cookie: UInt64, RequestFailure?)
  }

  /// Bounds on what a server may make us read and keep.
  package struct Limits: Hashable, Sendable {
    /// Most extents of one reply: 8 MiB of them.
    package var extents = 1 << 20
    /// Longest text of an error: the protocol's bound on any string.
    package var errorText = 4096
    /// Most chunks of one reply.
    package var chunks = 16_384

    package init() {}
  }

  enum State: Hashable, Sendable {
    /// The first 16 bytes of a header, which both kinds of reply have.
    case header
    /// The last 4 bytes of a chunk's header.
    case chunkHeader([UInt8])
    /// The payload of a chunk, or of NBD_REPLY_TYPE_OFFSET_DATA the offset in front of the data.
    case payload(ChunkHeader, count: Int)
    case data(cookie: UInt64, position: Int, count: Int, isDone: Bool)
  }

  struct Awaited: Hashable, Sendable {
    let request: Request
    var coverage = Coverage()
    /// Chunks so far.
    var chunks = 0
    /// The contexts told of so far.
    var told: Set<UInt32> = []
    var failure: RequestFailure?
  }

  let agreement: Agreement
  let limits: Limits
  var state = State.header
  var awaited: [UInt64: Awaited] = [:]
  private var events: [Event] = []

  package init(_ agreement: Agreement, limits: Limits = Limits()) {
    self.agreement = agreement
    self.limits = limits
  }

  /// Notes a request that is sent; its cookie is not that of another one in flight.
  package mutating func expect(_ request: Request) {
    awaited[request.cookie] = Awaited(request: request)
  }

  /// Requests without a whole reply.
  package var outstanding: Int { awaited.count }

  /// Whether the server owes us the rest of a reply that has begun.
  package var isInReply: Bool { state != .header }

  /// What to read next.
  package var step: Step {
    switch state {
    case .header: .control(SimpleReply.size)
    case .chunkHeader: .control(ChunkHeader.size - SimpleReply.size)
    case .payload(_, let count): .control(count)
    case .data(let cookie, let position, let count, _):
      .data(cookie: cookie, position: position, count: count)
    }
  }

  /// What replies have said, oldest first; nil when there is nothing more.
  package mutating func nextEvent() -> Event? { events.isEmpty ? nil : events.removeFirst() }

  mutating func tell(_ event: Event) { events.append(event) }

  /// The bytes that a `.control` step asked for, all of them and no more.
  package mutating func received(_ bytes: [UInt8]) throws(ReplyError) {
    guard case .control(bytes.count) = step else { throw ReplyError("bytes that were not due") }
    switch state {
    case .header: try acceptHeader(bytes)
    case .chunkHeader(let first):
      guard let header = ChunkHeader(decoding: first + bytes) else {
        throw ReplyError("the server sent a chunk without a header")
      }
      try acceptChunk(header)
    case .payload(let header, _): try acceptPayload(bytes, of: header)
    case .data: break
    }
  }

  /// All the data that a `.data` step asked for is there.
  package mutating func receivedData() throws(ReplyError) {
    guard case .data(let cookie, _, _, let isDone) = state else { return }
    try endChunk(cookie, isDone: isDone)
  }

  private mutating func acceptHeader(_ bytes: [UInt8]) throws(ReplyError) {
    let reply: SimpleReply
    do { reply = try SimpleReply(decoding: bytes.span) } catch {
      if agreement.structuredReplies, error == .wrongMagic(ChunkHeader.magic) {
        state = .chunkHeader(bytes)
        return
      }
      throw ReplyError("the server sent a \(error)")
    }
    guard let answered = awaited[reply.cookie] else { throw .unasked }
    if let error = reply.error {
      finish(reply.cookie, RequestFailure(error: error))
      return
    }
    switch answered.request.command {
    case .blockStatus: throw ReplyError("the server answered NBD_CMD_BLOCK_STATUS without extents")
    case .read where agreement.structuredReplies:
      throw ReplyError("the server sent a simple reply with data where chunks were agreed on")
    case .read where answered.request.length > 0:
      state = .data(
        cookie: reply.cookie, position: 0, count: Int(clamping: answered.request.length),
        isDone: true)
      awaited[reply.cookie]?.coverage = Coverage(all: answered.request.length)
    default: finish(reply.cookie, nil)
    }
  }

  /// A chunk is over; with it maybe its reply.
  mutating func endChunk(_ cookie: UInt64, isDone: Bool) throws(ReplyError) {
    state = .header
    guard isDone, let answered = awaited[cookie] else { return }
    if answered.failure == nil {
      switch answered.request.command {
      case .read where !answered.coverage.isComplete(answered.request.length):
        throw ReplyError("the server ended a reply before all of its data was sent")
      case .blockStatus where answered.told.isEmpty:
        throw ReplyError("the server answered NBD_CMD_BLOCK_STATUS without extents")
      default: break
      }
    }
    finish(cookie, answered.failure)
  }

  private mutating func finish(_ cookie: UInt64, _ failure: RequestFailure?) {
    awaited[cookie] = nil
    tell(.finished(cookie: cookie, failure))
  }
}

/// The server's refusal of one request.
package struct RequestFailure: Error, Hashable, Sendable, CustomStringConvertible {
  package let error: NBDError
  /// The server's words, printable and bounded; nil where it gave none.
  package let text: String?
  /// Where in the export it failed; nil where the server does not say.
  package let offset: UInt64?

  package init(error: NBDError, text: String? = nil, offset: UInt64? = nil) {
    self.error = error
    self.text = text
    self.offset = offset
  }

  /// "EIO", and the server's words.
  package var description: String {
    "\(error)".uppercased() + (text.map { " (\(Printable.quoted($0)))" } ?? "")
  }
}

/// The server broke the protocol in a reply.
package struct ReplyError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What it did, one line.
  package let message: String

  init(_ message: String) { self.message = message }

  static let unasked = ReplyError("the server replied to a request that is not in flight")

  package var description: String { message }
}
