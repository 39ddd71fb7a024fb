// SPDX-License-Identifier: Apache-2.0

extension Negotiation {
  /// Sends the option that serves the goal best.
  mutating func askForGoal() {
    switch goal {
    case .list: ask(.list)
    case .info(let name): ask(.info, Self.infoRequest(name))
    case .attach(let name): ask(.go, Self.infoRequest(name))
    }
  }

  /// Ends option haggling the old way, which any newstyle server knows.
  mutating func askByExportName() {
    send(.exportName, Array(exportName.string.utf8))
    state = .exportAnswer
  }

  mutating func ask(_ option: Option, _ data: [UInt8] = []) {
    send(option, data)
    state = .replyHeader(option)
  }

  private mutating func send(_ option: Option, _ data: [UInt8]) {
    outgoing += option.encoded(data)
    mayAbort = false
    trace.append("sent \(option.name)")
  }

  /// The data of NBD_OPT_INFO and NBD_OPT_GO.
  private static func infoRequest(_ name: ExportName) -> [UInt8] {
    let wanted: [InfoType] = [.export, .name, .description, .blockSize]
    var data: [UInt8] = []
    data.append(bigEndian: UInt32(clamping: name.string.utf8.count))
    data += name.string.utf8
    data.append(bigEndian: UInt16(clamping: wanted.count))
    for type in wanted { data.append(bigEndian: type.rawValue) }
    return data
  }

  mutating func acceptReplyHeader(_ bytes: [UInt8], of option: Option) throws(NegotiationError) {
    guard let header = ReplyHeader(decoding: bytes) else {
      throw NegotiationError(
        .protocolViolation,
        "wrong magic \"\(Printable.ascii(Array(bytes.prefix(8))))\" in the reply to \(option.name)")
    }
    guard header.option == option.rawValue else {
      throw NegotiationError(
        .protocolViolation,
        "the server answers \(Option.name(of: header.option)) when asked \(option.name)")
    }
    try check(header, of: option)
    if header.length == 0 {
      try acceptReply(header, to: option, payload: [])
    } else {
      state = .replyPayload(option, header)
    }
  }

  /// Refuses before a byte of the payload is read what cannot be right or is too long.
  private func check(_ header: ReplyHeader, of option: Option) throws(NegotiationError) {
    let shortest: Int
    let longest: Int
    switch (header.type, option) {
    case (let type, _) where type.isError: (shortest, longest) = (0, limits.errorText)
    case (.ack, _):
      guard header.length == 0 else {
        throw NegotiationError(
          .protocolViolation,
          "the acknowledgement of \(option.name) has a payload of \(header.length) bytes")
      }
      return
    case (.server, .list): (shortest, longest) = (4, 4 + limits.name + limits.description)
    case (.info, .info), (.info, .go): (shortest, longest) = (2, limits.replyLength)
    case (.metaContext, .setMetaContext): (shortest, longest) = (5, 4 + limits.name)
    default:
      throw NegotiationError(
        .protocolViolation, "unexpected \(header.type.name) in reply to \(option.name)")
    }
    guard Int(clamping: header.length) >= shortest else {
      throw NegotiationError(
        .protocolViolation,
        "\(header.type.name) of \(header.length) bytes in reply to \(option.name) is too short")
    }
    guard Int(clamping: header.length) <= longest else {
      throw NegotiationError(
        .limitExceeded,
        "\(header.type.name) of \(header.length) bytes in reply to \(option.name) is too long"
          + " (at most \(longest))")
    }
  }

  mutating func acceptReply(
    _ header: ReplyHeader, to option: Option, payload: [UInt8]
  ) throws(NegotiationError) {
    if header.type.isError {
      try acceptError(header.type, to: option, text: payload)
      return
    }
    switch header.type {
    case .server:
      try acceptListing(payload)
      state = .replyHeader(option)
    case .info:
      try acceptInfo(payload, of: option)
      state = .replyHeader(option)
    case .metaContext:
      try acceptContext(payload)
      state = .replyHeader(option)
    default: try acceptAcknowledgement(of: option)
    }
  }

  private mutating func acceptAcknowledgement(of option: Option) throws(NegotiationError) {
    trace.append("got NBD_REP_ACK for \(option.name)")
    mayAbort = option != .startTLS
    switch option {
    case .startTLS: state = .tlsDue
    case .list: try finishListing()
    case .structuredReply: acceptStructuredReplies()
    case .setMetaContext: askForGoal()
    default:
      guard let sizeAndFlags = findings.sizeAndFlags else {
        mayAbort = false
        throw NegotiationError(
          .protocolViolation,
          "the server acknowledges \(option.name) without NBD_INFO_EXPORT")
      }
      isTransmitting = option == .go
      finishWithExport(sizeAndFlags)
    }
  }

  /// A final error reply. Either there is another way, or it becomes an error of ours.
  private mutating func acceptError(
    _ type: ReplyType, to option: Option, text: [UInt8]
  ) throws(NegotiationError) {
    let refusal = Refusal(type: type, option: option, text: text)
    trace.append("got \(refusal.reason) for \(option.name)")
    mayAbort = true
    switch (option, type) {
    case (_, .errShutdown), (_, .errTLSRequired):
      throw refusal.error(for: exportName, isSecure: isSecure)
    case (.structuredReply, _), (.setMetaContext, _):
      // An extension less; whether the export exists is NBD_OPT_GO's to say.
      agreement.contexts = []
      askForGoal()
    case (.info, .errUnsup), (.go, .errUnsup):
      // What was told before the refusal does not count.
      findings = Findings()
      ask(.list)
    case (.list, .errUnsup), (.list, .errPolicy), (.list, .errPlatform):
      guard goal != .list else { throw refusal.error(for: exportName, isSecure: isSecure) }
      // It cannot be known which names there are: any name is tried.
      askByExportName()
    default: throw refusal.error(for: exportName, isSecure: isSecure)
    }
  }
}
