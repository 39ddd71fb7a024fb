// SPDX-License-Identifier: Apache-2.0

/// What a client asks for beyond simple replies. Nothing of it is asked for before TLS where TLS is
/// required, and a server that refuses any of it is still one to work with.
package struct Extensions: Hashable, Sendable {
  /// Whether to ask for NBD_OPT_STRUCTURED_REPLY.
  package let structuredReplies: Bool
  /// Exact names of the contexts to select by NBD_OPT_SET_META_CONTEXT.
  package let metaContexts: [String]

  /// Simple replies only, as the kernel's driver needs them.
  package static let none = Extensions(structuredReplies: false, metaContexts: [])

  /// Structured replies, and the server's word on what is allocated and what reads as zeroes.
  package static let blockStatus = Extensions(
    structuredReplies: true, metaContexts: [MetaContext.baseAllocation])
}

/// A metadata context that the server selected, under the number that its replies use.
package struct MetaContext: Hashable, Sendable {
  /// "base:allocation": NBD_STATE_HOLE and NBD_STATE_ZERO for each extent
  package static let baseAllocation = "base:allocation"

  package let identifier: UInt32
  package let name: String

  package init(identifier: UInt32, name: String) {
    self.identifier = identifier
    self.name = name
  }
}

/// What client and server agreed on; it holds for the transmission phase.
package struct Agreement: Hashable, Sendable {
  /// Replies that carry data come in chunks.
  package var structuredReplies = false
  /// The contexts that NBD_CMD_BLOCK_STATUS tells of; none: it must not be sent.
  package var contexts: [MetaContext] = []

  package init(structuredReplies: Bool = false, contexts: [MetaContext] = []) {
    self.structuredReplies = structuredReplies
    self.contexts = contexts
  }
}

extension Negotiation {
  /// The first option in a session where any may be sent.
  mutating func beginOptions() {
    if case .attach = goal, extensions.structuredReplies {
      ask(.structuredReply)
    } else {
      askForGoal()
    }
  }

  /// NBD_OPT_STRUCTURED_REPLY is acknowledged.
  mutating func acceptStructuredReplies() {
    agreement.structuredReplies = true
    if extensions.metaContexts.isEmpty {
      askForGoal()
    } else {
      ask(.setMetaContext, contextQuery)
    }
  }

  /// One NBD_REP_META_CONTEXT: a number, and the name of a context that we asked for.
  mutating func acceptContext(_ payload: [UInt8]) throws(NegotiationError) {
    var reader = ByteReader(payload)
    guard let identifier = reader.integer(UInt32.self) else {
      throw NegotiationError(.protocolViolation, "an NBD_REP_META_CONTEXT without a number")
    }
    let name = String(decoding: reader.takeRest(), as: UTF8.self)
    guard extensions.metaContexts.contains(name) else {
      throw NegotiationError(
        .protocolViolation,
        "the server selects a context that was not asked for: \(Printable.quoted(name))")
    }
    // At most one reply for each query: what is kept is bounded by what was asked.
    guard !agreement.contexts.contains(where: { $0.name == name || $0.identifier == identifier })
    else {
      throw NegotiationError(.protocolViolation, "the server selects a context twice")
    }
    agreement.contexts.append(MetaContext(identifier: identifier, name: name))
    trace.append("got NBD_REP_META_CONTEXT: \(name)")
  }

  /// The data of NBD_OPT_SET_META_CONTEXT.
  private var contextQuery: [UInt8] {
    var data: [UInt8] = []
    data.append(bigEndian: UInt32(clamping: exportName.string.utf8.count))
    data += exportName.string.utf8
    data.append(bigEndian: UInt32(clamping: extensions.metaContexts.count))
    for name in extensions.metaContexts {
      data.append(bigEndian: UInt32(clamping: name.utf8.count))
      data += name.utf8
    }
    return data
  }
}
