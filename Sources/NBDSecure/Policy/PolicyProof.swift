// SPDX-License-Identifier: Apache-2.0

/// What a connection turned out to be. Policy is asked again with it: what the user said before
/// may have been a mistake or a lie, and names resolve to what they like.
public struct PolicyProof: Hashable, Sendable {
  /// What the handshake proved.
  public struct Session: Hashable, Sendable {
    /// The version negotiated.
    public var version: PolicyTLSVersion
    /// `gnutls_cipher_get_name`.
    public var cipher: String
    /// `gnutls_group_get_name`; nil where the key exchange used no named group.
    public var group: String?
    /// How the server proved itself.
    public var authentication: PolicyAuthentication
    /// The server's public key.
    public var peerKey: PolicyPin?
    /// The server's key at the first connection of this attachment; nil at the first.
    public var previousPeerKey: PolicyPin?
    /// The end of the server's certificate, in seconds since 1970.
    public var peerNotAfter: Int64?
    /// The name that was verified; nil for a pre-shared key.
    public var verifiedName: String?
    /// Every DNS name and IP address of the server's certificate, for rules that deny.
    public var certificateNames: [String]
    /// The first certificate of the server's chain, below the trust anchor, of which no revocation
    /// list speaks; nil where lists speak of all.
    public var unlistedCertificate: String?

    /// The facts of a finished handshake.
    public init(
      version: PolicyTLSVersion, cipher: String, group: String?,
      authentication: PolicyAuthentication, peerKey: PolicyPin? = nil,
      previousPeerKey: PolicyPin? = nil, peerNotAfter: Int64? = nil, verifiedName: String? = nil,
      certificateNames: [String] = [], unlistedCertificate: String? = nil
    ) {
      self.version = version
      self.cipher = cipher
      self.group = group
      self.authentication = authentication
      self.peerKey = peerKey
      self.previousPeerKey = previousPeerKey
      self.peerNotAfter = peerNotAfter
      self.verifiedName = verifiedName
      self.certificateNames = certificateNames
      self.unlistedCertificate = unlistedCertificate
    }
  }

  /// The numeric address that the socket is connected to; nil for Unix sockets and vsock.
  public var address: String?
  /// The TLS session; nil in plaintext.
  public var session: Session?

  /// What a connection turned out to be.
  public init(address: String?, session: Session?) {
    self.address = address
    self.session = session
  }
}
