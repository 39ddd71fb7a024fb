// SPDX-License-Identifier: Apache-2.0

/// The server's side of the handshake, for local clients of a proxy: fixed newstyle, one export,
/// NBD_OPT_LIST, INFO, GO, EXPORT_NAME and ABORT, simple replies only. Pure, as `Negotiation` is,
/// and driven in the same way.
///
/// The one export answers to its own name and to the default name "". What else a client asks for
/// is refused with NBD_REP_ERR_UNSUP, STARTTLS and structured replies included.
package struct ServerNegotiation: Sendable {
  /// What the caller has to do.
  package enum Step: Hashable, Sendable {
    /// Send all of these bytes.
    case send([UInt8])
    /// Read exactly so many bytes and give them to `received(_:)`.
    case receive(exactly: Int)
    /// The client asks for the transmission phase: call `admit()` or `refuse(_:)`.
    case admission
    /// Done.
    case finished(Outcome)
  }

  /// How a handshake ended well.
  package enum Outcome: Hashable, Sendable {
    /// The next bytes of the client are requests.
    case transmission
    /// The client wants to part: close the connection.
    case aborted
  }

  private enum State: Hashable, Sendable {
    case clientFlags
    case optionHeader
    case optionData(option: UInt32, length: Int)
    case admission(option: UInt32, granted: [UInt8])
    case finished(Outcome)
    case failed(NegotiationError)
  }

  private let export: Export
  private let blockSizes: BlockSizes
  private let limits: Limits
  private var state = State.clientFlags
  private var outgoing: [UInt8]
  private var options = 0
  private var omitsZeroes = false
  private var trace: [String] = []

  /// A server of `export`, which holds clients to `blockSizes`: those of the server behind, with a
  /// maximum that the relay can hold.
  package init(export: Export, blockSizes: BlockSizes, limits: Limits = .default) {
    // A flag promises what the relay must keep: without structured replies there is no DF, and
    // nothing is resized.
    let flags = export.flags.intersection(.known)
      .subtracting([.sendDF, .sendResize]).union(.hasFlags)
    self.export = Export(
      name: export.name, canonicalName: export.canonicalName, description: export.description,
      size: export.size, flags: flags)
    self.blockSizes = blockSizes
    self.limits = limits
    outgoing = []
    outgoing.append(bigEndian: Handshake.initialMagic)
    outgoing.append(bigEndian: Handshake.optionMagic)
    let offered: HandshakeFlags = [.fixedNewstyle, .noZeroes]
    outgoing.append(bigEndian: UInt16(truncatingIfNeeded: offered.rawValue))
  }

  /// What to do now. After `.send`, call again when that is done; after `.receive`, once
  /// `received(_:)` has the bytes.
  package mutating func next() throws(NegotiationError) -> Step {
    if case .failed(let error) = state { throw error }
    if !outgoing.isEmpty {
      defer { outgoing = [] }
      return .send(outgoing)
    }
    switch state {
    case .clientFlags: return .receive(exactly: 4)
    case .optionHeader: return .receive(exactly: Handshake.optionHeaderLength)
    case .optionData(_, let length): return .receive(exactly: length)
    case .admission: return .admission
    case .finished(let outcome): return .finished(outcome)
    case .failed(let error): throw error
    }
  }

  /// The bytes that the last `.receive` asked for, all of them and no more.
  package mutating func received(_ bytes: [UInt8]) throws(NegotiationError) {
    do throws(NegotiationError) {
      guard case .receive(let expected) = try next() else {
        throw NegotiationError(.protocolViolation, "the client sent bytes when none were due")
      }
      guard bytes.count == expected else { throw endOfStream(after: bytes.count) }
      switch state {
      case .clientFlags: try acceptClientFlags(bytes)
      case .optionHeader: try acceptOptionHeader(bytes)
      case .optionData(let option, _): try accept(option, data: bytes)
      case .admission, .finished, .failed: break
      }
    } catch {
      state = .failed(error)
      throw error
    }
  }

  /// Lets the client in, after `.admission`.
  package mutating func admit() {
    guard case .admission(_, let granted) = state else { return }
    outgoing += granted
    state = .finished(.transmission)
  }

  /// Refuses the client, after `.admission`, with a reason for its user; it may ask again.
  ///
  /// NBD_OPT_EXPORT_NAME has no error reply: `next()` then throws, and the caller closes the
  /// connection.
  package mutating func refuse(_ reason: String) {
    guard case .admission(let option, _) = state else { return }
    if option == Option.go.rawValue {
      let text = String(decoding: reason.utf8.prefix(limits.errorText), as: UTF8.self)
      reply(option, .errPolicy, text)
      state = .optionHeader
    } else {
      trace.append("refused \(Option.name(of: option)): \(reason)")
      state = .failed(NegotiationError(.exportRefused, "refused a client: \(reason)"))
    }
  }

  /// What it means that the stream ended in this state, with `bytesGot` of the bytes asked for.
  package func endOfStream(after bytesGot: Int) -> NegotiationError {
    if case .failed(let error) = state { return error }
    return NegotiationError(.closed, "the client closed the connection during the negotiation")
  }

  /// Lines for `-v` since the last call.
  package mutating func takeTrace() -> [String] {
    defer { trace = [] }
    return trace
  }

  // MARK: Input

  private mutating func acceptClientFlags(_ bytes: [UInt8]) throws(NegotiationError) {
    var reader = ByteReader(bytes)
    let flags = HandshakeFlags(rawValue: reader.integer(UInt32.self) ?? 0)
    // "The server MUST drop the TCP connection if the client sets an unknown flag."
    guard flags.isSubset(of: [.fixedNewstyle, .noZeroes]) else {
      throw NegotiationError(
        .protocolViolation, "the client sets unknown flags 0x\(Printable.hex(flags.rawValue))")
    }
    omitsZeroes = flags.contains(.noZeroes)
    state = .optionHeader
  }

  private mutating func acceptOptionHeader(_ bytes: [UInt8]) throws(NegotiationError) {
    var reader = ByteReader(bytes)
    guard reader.integer(UInt64.self) == Handshake.optionMagic,
      let option = reader.integer(UInt32.self), let length = reader.integer(UInt32.self)
    else {
      throw NegotiationError(
        .protocolViolation,
        "wrong magic \"\(Printable.ascii(Array(bytes.prefix(8))))\" in front of an option")
    }
    options += 1
    guard options <= limits.options else {
      throw NegotiationError(.limitExceeded, "the client sends more than \(limits.options) options")
    }
    guard Int(clamping: length) <= limits.optionLength else {
      throw NegotiationError(
        .limitExceeded,
        "the client sends \(Option.name(of: option)) with \(length) bytes of data"
          + " (at most \(limits.optionLength))")
    }
    if length == 0 {
      try accept(option, data: [])
    } else {
      state = .optionData(option: option, length: Int(clamping: length))
    }
  }

  // MARK: Options

  private mutating func accept(_ option: UInt32, data: [UInt8]) throws(NegotiationError) {
    trace.append("client: " + Option.name(of: option))
    state = .optionHeader
    switch Option(rawValue: option) {
    case .exportName: try acceptExportName(data)
    case .abort:
      reply(option, .ack)
      state = .finished(.aborted)
    case .list: list(data)
    case .info, .go: inform(option, data)
    default: reply(option, .errUnsup, "not supported")
    }
  }

  private mutating func acceptExportName(_ data: [UInt8]) throws(NegotiationError) {
    guard isOurs(data) else {
      // There is no error reply to this option: the caller closes the connection.
      throw NegotiationError(
        .exportUnknown,
        "the client asked for an export \(Printable.quoted(String(decoding: data, as: UTF8.self)))"
          + " that is not served")
    }
    var granted: [UInt8] = []
    granted.append(bigEndian: export.size)
    granted.append(bigEndian: export.flags.rawValue)
    if !omitsZeroes {
      granted += [UInt8](repeating: 0, count: Handshake.reservedLength)
    }
    state = .admission(option: Option.exportName.rawValue, granted: granted)
  }

  private mutating func list(_ data: [UInt8]) {
    let option = Option.list.rawValue
    guard data.isEmpty else {
      reply(option, .errInvalid, "NBD_OPT_LIST has no data")
      return
    }
    var entry: [UInt8] = []
    entry.append(bigEndian: UInt32(clamping: export.name.string.utf8.count))
    entry += export.name.string.utf8
    entry += description
    reply(option, .server, entry)
    reply(option, .ack)
  }

  /// NBD_OPT_INFO and NBD_OPT_GO: name length, name, number of requests, requests.
  private mutating func inform(_ option: UInt32, _ data: [UInt8]) {
    var reader = ByteReader(data)
    guard let length = reader.integer(UInt32.self), let name = reader.take(Int(clamping: length)),
      let count = reader.integer(UInt16.self), reader.count == Int(count) * 2
    else {
      reply(option, .errInvalid, "lengths contradict each other")
      return
    }
    guard isOurs(name) else {
      reply(option, .errUnknown, "no such export")
      return
    }
    var told: [InfoType] = [.export]
    while let raw = reader.integer(UInt16.self) {
      if let type = InfoType(rawValue: raw), !told.contains(type) { told.append(type) }
    }
    var granted: [UInt8] = []
    for type in told where type != .description || !description.isEmpty {
      granted += ReplyHeader.encoded(to: option, .info, information(type))
    }
    granted += ReplyHeader.encoded(to: option, .ack, [])
    if option == Option.go.rawValue {
      state = .admission(option: option, granted: granted)
    } else {
      outgoing += granted
    }
  }

  // MARK: Output

  private func information(_ type: InfoType) -> [UInt8] {
    var data: [UInt8] = []
    data.append(bigEndian: type.rawValue)
    switch type {
    case .export:
      data.append(bigEndian: export.size)
      data.append(bigEndian: export.flags.rawValue)
    case .name: data += export.name.string.utf8
    case .description: data += description
    case .blockSize:
      data.append(bigEndian: blockSizes.minimum)
      data.append(bigEndian: blockSizes.preferred)
      data.append(bigEndian: blockSizes.maximum)
    }
    return data
  }

  private mutating func reply(_ option: UInt32, _ type: ReplyType, _ text: String) {
    trace.append("sent \(type.name): \(text)")
    reply(option, type, Array(text.utf8))
  }

  private mutating func reply(_ option: UInt32, _ type: ReplyType, _ data: [UInt8] = []) {
    outgoing += ReplyHeader.encoded(to: option, type, data)
  }

  private func isOurs(_ name: [UInt8]) -> Bool { name.isEmpty || export.name.matches(name) }

  /// Of a length that clients accept.
  private var description: [UInt8] {
    Array((export.description ?? "").utf8.prefix(limits.description))
  }
}
