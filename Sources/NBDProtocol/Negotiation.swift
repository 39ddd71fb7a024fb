// SPDX-License-Identifier: Apache-2.0

/// Whether a connection must be encrypted.
package enum Security: Hashable, Sendable {
  /// NBD_OPT_STARTTLS is the only option sent in plaintext; whoever cannot do TLS is refused.
  case tlsRequired
  /// Plaintext was explicitly allowed and there are no credentials: TLS is not attempted.
  case plaintext
}

/// What a connection is for.
package enum Goal: Hashable, Sendable {
  /// The names of all exports.
  case list
  /// All about one export.
  case info(ExportName)
  /// The transmission phase on one export.
  case attach(ExportName)
}

/// How a negotiation ended well. `Negotiation.farewell` says how to part from the server.
package enum Verdict: Hashable, Sendable {
  case listing([ExportListing])
  case info(Export)
  /// The transmission phase begins with the next byte.
  case ready(Export)
}

/// The client's side of the handshake, as a pure state machine: bytes in, bytes out, a verdict.
///
/// The caller does what `next()` says, and calls it again. Bytes are asked for exactly, never
/// ahead: after the acknowledgement of NBD_OPT_STARTTLS whatever else has arrived in plaintext was
/// not asked for, and the caller refuses it.
///
/// A failure is final: `next()` repeats it.
package struct Negotiation: Sendable {
  /// What the caller has to do.
  package enum Step: Hashable, Sendable {
    /// Send all of these bytes.
    case send([UInt8])
    /// Read exactly so many bytes and give them to `received(_:)`.
    case receive(exactly: Int)
    /// Replace the transport by a verified TLS channel over it.
    case startTLS
    /// Done.
    case finished(Verdict)
  }

  enum State: Hashable, Sendable {
    case initialMagic
    case secondMagic
    case oldstyleRest
    case handshakeFlags
    case replyHeader(Option)
    case replyPayload(Option, ReplyHeader)
    /// The server's answer to NBD_OPT_EXPORT_NAME, which has no reply header.
    case exportAnswer
    /// The acknowledgement of NBD_OPT_STARTTLS is here, TLS is not asked for yet.
    case tlsDue
    /// TLS was asked for; the next call of `next()` means that it is up.
    case tlsStarted
    case finished(Verdict)
    case failed(NegotiationError)
  }

  /// What replies have taught so far about the export or exports.
  struct Findings: Hashable, Sendable {
    var sizeAndFlags: SizeAndFlags?
    var canonicalName: String?
    var description: String?
    var blockSizes: BlockSizes?
    var infoReplies = 0
    var listings: [ExportListing] = []
    var listingCount = 0
    var listingBytes = 0
    /// Whether the export asked for is among those listed.
    var isListed = false
  }

  let goal: Goal
  let security: Security
  let extensions: Extensions
  let limits: Limits
  var state = State.initialMagic
  var outgoing: [UInt8] = []
  var trace: [String] = []
  var findings = Findings()
  /// What the server granted of `extensions`.
  package internal(set) var agreement = Agreement()
  /// What we told the server, not what it told us: the one thing that holds across STARTTLS.
  var clientFlags: HandshakeFlags = []
  var isSecure = false
  /// The server is in the transmission phase.
  var isTransmitting = false
  /// The last option has its final reply, so that another one may be sent.
  var mayAbort = false

  package init(
    goal: Goal, security: Security, extensions: Extensions = .none, limits: Limits = .default
  ) {
    self.goal = goal
    self.security = security
    self.extensions = extensions
    self.limits = limits
  }

  /// What to do now. After `.send` and `.startTLS`, call again when that is done; after
  /// `.receive`, once `received(_:)` has the bytes.
  package mutating func next() throws(NegotiationError) -> Step {
    if state == .tlsStarted {
      isSecure = true
      beginOptions()
    }
    if case .failed(let error) = state { throw error }
    if !outgoing.isEmpty {
      defer { outgoing = [] }
      return .send(outgoing)
    }
    switch state {
    case .initialMagic, .secondMagic: return .receive(exactly: 8)
    case .oldstyleRest: return .receive(exactly: Handshake.oldstyleRestLength)
    case .handshakeFlags: return .receive(exactly: 2)
    case .replyHeader: return .receive(exactly: Handshake.replyHeaderLength)
    case .replyPayload(_, let header): return .receive(exactly: Int(clamping: header.length))
    case .exportAnswer: return .receive(exactly: exportAnswerLength)
    case .tlsDue, .tlsStarted:
      state = .tlsStarted
      // Nothing that was said in plaintext counts from here on.
      findings = Findings()
      agreement = Agreement()
      return .startTLS
    case .finished(let verdict): return .finished(verdict)
    case .failed(let error): throw error
    }
  }

  /// The bytes that the last `.receive` asked for, all of them and no more.
  package mutating func received(_ bytes: [UInt8]) throws(NegotiationError) {
    do throws(NegotiationError) {
      try accept(bytes)
    } catch {
      state = .failed(error)
      throw error
    }
  }

  private mutating func accept(_ bytes: [UInt8]) throws(NegotiationError) {
    guard case .receive(let expected) = try next() else {
      throw NegotiationError(.protocolViolation, "the server sent bytes when none were due")
    }
    guard bytes.count == expected else { throw endOfStream(after: bytes.count) }
    switch state {
    case .initialMagic: try acceptInitialMagic(bytes)
    case .secondMagic: try acceptSecondMagic(bytes)
    case .oldstyleRest: try acceptOldstyleRest(bytes)
    case .handshakeFlags: try acceptHandshakeFlags(bytes)
    case .replyHeader(let option): try acceptReplyHeader(bytes, of: option)
    case .replyPayload(let option, let header):
      try acceptReply(header, to: option, payload: bytes)
    case .exportAnswer: try acceptExportAnswer(bytes)
    case .tlsDue, .tlsStarted, .finished, .failed: break
    }
  }

  var exportAnswerLength: Int {
    Handshake.exportAnswerLength
      + (clientFlags.contains(.noZeroes) ? 0 : Handshake.reservedLength)
  }

  /// The export asked for; the default one where all are listed.
  var exportName: ExportName {
    switch goal {
    case .list: .defaultExport
    case .info(let name), .attach(let name): name
    }
  }

  /// Lines for `-v` since the last call: what was sent and learnt, printable, no secrets.
  package mutating func takeTrace() -> [String] {
    defer { trace = [] }
    return trace
  }
}
