// SPDX-License-Identifier: Apache-2.0

/// Why a negotiation ended without what was asked for.
package struct NegotiationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Grouped by what the caller tells its user: the exit status follows from it.
  package enum Kind: Hashable, Sendable, CaseIterable {
    /// The stream ended where bytes were due. 76
    case closed
    /// The peer's first bytes are not NBD's. 76
    case notNBD
    /// The peer did what the protocol forbids. 76
    case protocolViolation
    /// The peer sent more than `Limits` allows. 76
    case limitExceeded
    /// TLS is required and the server cannot or will not do it. 78
    case serverCannotTLS
    /// Plaintext was allowed, but the server demands TLS. 69
    case tlsDemanded
    /// The server has no such export. 69
    case exportUnknown
    /// The server refuses the export, or ends the session when asked for it. 69
    case exportRefused
    /// The server cannot or will not list its exports. 69
    case listRefused
    /// NBD_REP_ERR_SHUTDOWN. 69
    case shuttingDown
  }

  package let kind: Kind
  /// What failed and why, one line; text of the peer in it is printable and bounded.
  package let message: String
  /// The text of the server's error reply, printable and bounded; also part of `message`.
  package let serverText: String?

  package init(_ kind: Kind, _ message: String, serverText: String? = nil) {
    self.kind = kind
    self.message = message
    self.serverText = serverText
  }

  package var description: String { message }
}
