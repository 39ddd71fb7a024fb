// SPDX-License-Identifier: Apache-2.0

extension Negotiation {
  /// What may be sent as a courtesy before the connection is closed in this state, after success or
  /// failure: NBD_OPT_ABORT while options are negotiated, NBD_CMD_DISC in the transmission phase
  /// (a server without NBD_OPT_INFO is asked by entering it). Nil where the protocol or caution
  /// wants the connection closed without a word: before TLS where TLS is required, while a reply is
  /// outstanding, after a breach of the protocol.
  ///
  /// An answer need not be awaited. Bytes that `next()` gave out must have been sent before.
  package var farewell: [UInt8]? {
    if security == .tlsRequired && !isSecure { return nil }
    switch state {
    case .finished:
      return isTransmitting ? Request(.disc, cookie: 0).encoded : Option.abort.encoded()
    case .failed:
      return mayAbort ? Option.abort.encoded() : nil
    default: return nil
    }
  }

  /// What the server owes us in this state, for the message when a deadline passes: "no answer to
  /// NBD_OPT_GO", ...
  package var missing: String {
    switch state {
    case .initialMagic, .secondMagic, .oldstyleRest, .handshakeFlags: "no greeting"
    case .replyHeader(let option): "no answer to \(option.name)"
    case .replyPayload(let option, _): "no end of the answer to \(option.name)"
    case .exportAnswer: "no answer to NBD_OPT_EXPORT_NAME"
    case .tlsDue, .tlsStarted: "no end of the TLS handshake"
    case .finished, .failed: "nothing"
    }
  }

  /// What it means that the stream ended in this state, with `bytesGot` of the bytes asked for.
  package func endOfStream(after bytesGot: Int) -> NegotiationError {
    func closed(_ message: String) -> NegotiationError {
      NegotiationError(.closed, "the server closed the connection " + message)
    }
    switch state {
    case .initialMagic where bytesGot <= 0: return closed("before it said anything")
    case .initialMagic, .secondMagic, .oldstyleRest, .handshakeFlags:
      return closed("in the middle of its greeting")
    case .replyHeader(let option) where bytesGot <= 0:
      return closed("instead of answering \(option.name)")
    case .replyHeader(let option), .replyPayload(let option, _):
      return closed("in the middle of its reply to \(option.name)")
    case .exportAnswer where bytesGot <= 0:
      // NBD_OPT_EXPORT_NAME has no error reply: to close is the only way to refuse.
      return NegotiationError(
        .exportRefused,
        "the server closed the connection when asked for export \(exportName): it has none of"
          + " that name, or refuses it")
    case .exportAnswer: return closed("in the middle of its description of the export")
    case .tlsDue, .tlsStarted: return closed("before the TLS handshake")
    case .finished: return closed("after the negotiation")
    case .failed(let error): return error
    }
  }

  mutating func finish(_ verdict: Verdict) { state = .finished(verdict) }

  /// The verdict on the one export asked for, once the server has told all about it.
  mutating func finishWithExport(_ sizeAndFlags: SizeAndFlags) {
    let export = Export(
      name: exportName, canonicalName: findings.canonicalName, description: findings.description,
      size: sizeAndFlags.size, flags: sizeAndFlags.flags, blockSizes: findings.blockSizes)
    switch goal {
    case .attach: finish(.ready(export))
    case .info: finish(.info(export))
    case .list: finish(.listing([ExportListing(name: exportName.string)]))
    }
  }
}
