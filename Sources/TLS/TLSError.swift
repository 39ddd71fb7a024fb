// SPDX-License-Identifier: Apache-2.0

/// A session that could not be set up, or that ended.
package struct TLSError: Error, Hashable, Sendable {
  /// What went wrong, as far as a program wants to tell it apart.
  package enum Kind: Hashable, Sendable {
    /// The chain ends in no authority that we trust.
    case unknownIssuer
    /// The server's certificate vouches for itself only.
    case selfSigned
    /// The certificate is for other names.
    case nameMismatch
    /// A certificate of the chain is past its validity.
    case expired
    /// A certificate of the chain is not valid yet.
    case notYetValid
    /// A certificate of the chain is on the revocation list.
    case revoked
    /// The certificate is not for TLS servers.
    case wrongPurpose
    /// A certificate of the chain was issued by one that may not issue any.
    case issuerNotAuthority
    /// A key of the chain is too short, or a signature uses a broken hash.
    case insecureAlgorithm
    /// The chain fails in another way.
    case certificateRejected
    /// The server's public key is none of the pinned ones.
    case pinMismatch
    /// The handshake ended without the kind of authentication that was asked for.
    case notAuthenticated
    /// The server wants a client certificate and we have none.
    case clientCertificateRequired
    /// The server does not accept our client certificate.
    case peerRejectedOurCertificate
    /// The server does not accept our pre-shared key or its identity.
    case peerRejectedOurKey
    /// Client and server have no version, cipher or key exchange in common.
    case noCommonParameters
    /// The server ended the handshake with an alert of another kind.
    case handshakeRefused
    /// Bytes that are no sensible TLS, a record that fails its check included.
    case protocolViolation
    /// The stream ended inside the handshake and no reason was given.
    case closedInHandshake
    /// A server of TLS 1.2 asked for a new handshake.
    case renegotiation
    /// The deadline passed.
    case deadline
    /// The priority string cannot be used.
    case invalidPriority
    /// The priority string and what is allowed have nothing in common.
    case emptyPriority
    /// What policy and the program allow leaves nothing.
    case emptyRequirements
    /// The name to verify is empty or impossible.
    case invalidIdentity
    /// The peer closed the stream; orderly means that it said so with close_notify.
    case closed(orderly: Bool)
    /// The peer ended the established session with an alert.
    case endedByAlert
    /// The socket failed, with this errno.
    case socket(Int32)
    /// The session is not at a record boundary with empty buffers, or the kernel has no such cipher.
    case notTransferable
    /// The library failed: memory, random numbers, a fault of ours.
    case library
  }

  /// Who has to act, and with that the exit status.
  package enum Category: Hashable, Sendable {
    /// The identity of either side was not proven.
    case identity
    /// The peer broke the protocol.
    case protocolViolation
    /// A deadline passed.
    case deadline
    /// The user asked for what cannot be.
    case usage
    /// Policy leaves nothing to offer.
    case configuration
    /// An established connection was lost.
    case connection
    /// Anything else.
    case other
  }

  package let kind: Kind
  /// One line that says why, without a full stop; text of the peer in it is printable and bounded.
  package let message: String
  /// What to do about it, where something can be said.
  package let hint: String?

  package init(_ kind: Kind, _ message: String, hint: String? = nil) {
    self.kind = kind
    self.message = message
    self.hint = hint
  }
}

extension TLSError.Kind {
  /// The group that this kind belongs to.
  package var category: TLSError.Category {
    switch self {
    case .unknownIssuer, .selfSigned, .nameMismatch, .expired, .notYetValid, .revoked,
      .wrongPurpose, .issuerNotAuthority, .insecureAlgorithm, .certificateRejected, .pinMismatch,
      .notAuthenticated, .clientCertificateRequired, .peerRejectedOurCertificate,
      .peerRejectedOurKey, .noCommonParameters, .handshakeRefused:
      .identity
    case .protocolViolation, .closedInHandshake, .renegotiation: .protocolViolation
    case .deadline: .deadline
    case .invalidPriority, .emptyPriority, .invalidIdentity: .usage
    case .emptyRequirements: .configuration
    case .closed, .endedByAlert, .socket: .connection
    case .notTransferable, .library: .other
    }
  }
}
