// SPDX-License-Identifier: Apache-2.0

/// What a user asks for, as far as policy has a say in it. A plain value: answering it reads no
/// file, resolves no name and looks at no clock.
public struct PolicyQuestion: Hashable, Sendable {
  /// Where the connection goes.
  public enum Transport: Hashable, Sendable {
    /// `host` as given (`--hostname` or the URI), `via` what `--address` put in its place, and
    /// every numeric address that would be tried. With no addresses (the name was not looked up),
    /// no rule that names an address allows anything.
    case tcp(host: String, via: String?, port: UInt16, addresses: [String])
    /// `path` as given; `resolved` is it after `realpath`, nil where there is no such socket.
    case unix(path: String, resolved: String?)
    /// A virtual machine socket, vsock(7).
    case vsock(cid: UInt32, port: UInt32)
  }

  /// What protects the connection.
  public enum Channel: Hashable, Sendable {
    /// Nothing.
    case plaintext
    /// TLS with a server certificate.
    case x509(X509)
    /// TLS with a pre-shared key out of this file, its path after `realpath`.
    case psk(file: String)
  }

  /// What an x509 session is going to be checked with.
  public struct X509: Hashable, Sendable {
    /// The CA file, its path after `realpath`; nil for the system's trust store. Load the
    /// certificates from this very path: a symbolic link may have changed in between.
    public var trustAnchors: String?
    /// Whether there is a client certificate to show.
    public var hasClientCertificate: Bool
    /// When the client certificate ends, in seconds since 1970.
    public var clientCertificateNotAfter: Int64?
    /// When the revocation list was issued (thisUpdate; the oldest one where there are several),
    /// in seconds since 1970; nil without a list.
    public var revocationListIssued: Int64?

    /// Credentials with a CA file (or the system's trust store) and nothing else.
    public init(
      trustAnchors: String?, hasClientCertificate: Bool = false,
      clientCertificateNotAfter: Int64? = nil, revocationListIssued: Int64? = nil
    ) {
      self.trustAnchors = trustAnchors
      self.hasClientCertificate = hasClientCertificate
      self.clientCertificateNotAfter = clientCertificateNotAfter
      self.revocationListIssued = revocationListIssued
    }
  }

  /// Where the connection goes.
  public var transport: Transport
  /// What protects it.
  public var channel: Channel
  /// The name (or IP literal) that the server's certificate must carry. Counts for x509 only: in
  /// plaintext and with a pre-shared key nobody proves a name.
  public var verifiedName: String?
  /// The export; nil when exports are only listed.
  public var export: String?
  /// The data paths that would do: both for `auto`; none where no device is attached.
  public var dataPaths: Set<PolicyDataPath>
  /// `--tls-min-version`.
  public var minimumVersion: PolicyTLSVersion
  /// `--tls-pin`; nil when there is none.
  public var pins: Set<PolicyPin>?
  /// `--read-only`.
  public var readOnly: Bool
  /// Whether it is of no use where only reading is allowed: an upload, or one more connection of a
  /// device that is writable already.
  public var needsToWrite: Bool
  /// The time to judge ages by, in seconds since 1970.
  public var now: Int64

  /// A question about one connection.
  public init(
    transport: Transport, channel: Channel, verifiedName: String? = nil, export: String? = nil,
    dataPaths: Set<PolicyDataPath> = [], minimumVersion: PolicyTLSVersion = .tls12,
    pins: Set<PolicyPin>? = nil, readOnly: Bool = false,
    needsToWrite: Bool = false, now: Int64
  ) {
    self.transport = transport
    self.channel = channel
    self.verifiedName = verifiedName
    self.export = export
    self.dataPaths = dataPaths
    self.minimumVersion = minimumVersion
    self.pins = pins
    self.readOnly = readOnly
    self.needsToWrite = needsToWrite
    self.now = now
  }

  /// How the server will prove itself; nil in plaintext.
  var authentication: PolicyAuthentication? {
    switch channel {
    case .plaintext: nil
    case .x509: .x509
    case .psk: .psk
    }
  }

  /// The name that a certificate will prove; nil where no certificate does.
  var provableName: String? { authentication == .x509 ? verifiedName : nil }

  /// Short text for messages: where, and which export.
  var endpointText: String {
    let place =
      switch transport {
      case .tcp(let host, let via, let port, _):
        via.map { "\(host):\(port) at \($0)" } ?? "\(host):\(port)"
      case .unix(let path, _): "unix:\(path)"
      case .vsock(let cid, let port): "vsock:\(cid):\(port)"
      }
    return export.map { "\(place) export \"\($0)\"" } ?? place
  }
}
