// SPDX-License-Identifier: Apache-2.0

/// An NBD URI (doc/uri.md of the NBD project), taken apart and checked.
///
/// Schemes: `nbd`, `nbds`, with `+unix` or `+vsock` behind. Stricter than the document: what is not
/// understood is an error, and nothing in a URI can switch verification off.
package struct NBDURI: Hashable, Sendable {
  /// Port of NBD, of TCP and by convention of vsock.
  package static let defaultPort: UInt16 = 10_809

  /// Where the server is.
  package enum Transport: Hashable, Sendable {
    /// A name or address without brackets; an IPv6 zone follows a "%".
    case tcp(host: String, port: UInt16)
    /// The path of a socket.
    case unix(path: String)
    case vsock(cid: UInt32, port: UInt32)
  }

  /// `tls-type`: the kind of credentials asked for.
  package enum TLSType: String, Sendable, CaseIterable {
    case x509
    case psk
  }

  package let transport: Transport
  /// The scheme was `nbds…`: never plaintext.
  package let requiresTLS: Bool
  /// Userinfo: the PSK identity.
  package let user: String?
  /// The path without its first slash.
  package let exportName: ExportName
  /// `tls-certificates`: a directory of credentials.
  package let tlsCertificates: String?
  /// `tls-psk-file`
  package let tlsPSKFile: String?
  /// `tls-hostname`: the name to verify.
  package let tlsHostname: String?
  /// `tls-verify-peer` is there: it can only say yes.
  package let verifiesPeer: Bool
  /// `tls-type`
  package let tlsType: TLSType?

  /// Whether `text` looks like a URI at all, rather than a name or a path.
  package static func isURI(_ text: String) -> Bool {
    guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else { return false }
    let scheme = text[..<colon].lowercased()
    return Scheme(rawValue: scheme) != nil || text[colon...].hasPrefix("://")
  }

  /// Throws what is wrong with `text`, fit for the user.
  package init(_ text: String) throws(NBDURIError) {
    let parts = try URIParts(text)
    guard let scheme = Scheme(rawValue: parts.scheme.lowercased()) else {
      throw .unknownScheme(parts.scheme)
    }
    requiresTLS = scheme.requiresTLS
    let authority = try URIAuthority(parts.authority ?? "")
    let query = try URIQuery(parts.query)
    user = authority.user

    let name = try PercentEncoding.decode(parts.path.dropFirst(), in: "the export name")
    do throws(ExportNameError) {
      exportName = try ExportName(name)
    } catch {
      throw .exportName(error)
    }

    switch scheme.transport {
    case .tcp:
      guard !authority.host.isEmpty else { throw .noHost }
      transport = .tcp(host: authority.host, port: try authority.tcpPort())
    case .vsock:
      guard !authority.host.isEmpty else { throw .noHost }
      transport = .vsock(cid: try authority.vsockCID(), port: try authority.vsockPort())
    case .unix:
      guard authority.host.isEmpty && authority.port == nil else {
        throw .hostForUnixSocket(authority.host)
      }
      guard let path = query[.socket] else { throw .noSocket }
      transport = .unix(path: path)
    }
    if query[.socket] != nil && scheme.transport != .unix { throw .socketWithoutUnix }

    tlsCertificates = query[.tlsCertificates]
    tlsPSKFile = query[.tlsPSKFile]
    tlsHostname = query[.tlsHostname]
    tlsType = try query.tlsType()
    verifiesPeer = try query.verifiesPeer()
    if tlsCertificates != nil && tlsPSKFile != nil {
      throw .contradiction(
        "\(URIQuery.Key.tlsCertificates.rawValue) and \(URIQuery.Key.tlsPSKFile.rawValue)")
    }
    if tlsType == .x509 {
      if tlsPSKFile != nil {
        throw .contradiction("tls-type=x509 and \(URIQuery.Key.tlsPSKFile.rawValue)")
      }
      guard user == nil else {
        throw .contradiction("tls-type=x509 and a user, which names a PSK identity")
      }
    }
  }

  /// The URI schemes, as the document writes them.
  private enum Scheme: String {
    case nbd
    case nbds
    case nbdUnix = "nbd+unix"
    case nbdsUnix = "nbds+unix"
    case nbdVsock = "nbd+vsock"
    case nbdsVsock = "nbds+vsock"

    enum Transport { case tcp, unix, vsock }

    var transport: Transport {
      switch self {
      case .nbd, .nbds: .tcp
      case .nbdUnix, .nbdsUnix: .unix
      case .nbdVsock, .nbdsVsock: .vsock
      }
    }

    var requiresTLS: Bool {
      switch self {
      case .nbds, .nbdsUnix, .nbdsVsock: true
      case .nbd, .nbdUnix, .nbdVsock: false
      }
    }
  }
}
