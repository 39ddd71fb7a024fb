// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import TLS

extension PolicyQuestion {
  /// The question about one connection: what a request asks for, and what was found for it.
  ///
  /// - Parameters:
  ///   - channel: what protects the connection, by the credentials that were loaded.
  ///   - addresses: those that would be tried; none where the name is unknown.
  init(
    _ request: ConnectionRequest, use: ConnectionUse, channel: Channel, identity: ServerIdentity?,
    addresses: [SocketAddress], goal: Goal
  ) {
    let transport: Transport =
      switch request.endpoint.transport {
      case .tcp(let host, let port, let address):
        .tcp(host: host, via: address, port: port, addresses: addresses.map(\.host))
      case .unix(let path): .unix(path: path, resolved: Self.socketPath(addresses))
      case .vsock(let cid, let port): .vsock(cid: cid, port: port)
      }
    let export: String? =
      switch goal {
      case .list: nil
      case .info(let name), .attach(let name): name.string
      }
    self.init(
      transport: transport, channel: channel, verifiedName: identity?.text, export: export,
      dataPaths: use.dataPaths,
      minimumVersion: request.minimumVersion == "1.3" ? .tls13 : .tls12,
      pins: request.pins.isEmpty ? nil : Set(request.pins), readOnly: use.readOnly,
      needsToWrite: use.needsToWrite, now: secondsSince1970())
  }

  /// The socket that is going to be connected to; nil where there is none.
  private static func socketPath(_ addresses: [SocketAddress]) -> String? {
    guard case .unix(let path) = addresses.first, fileExists(path) else { return nil }
    return path
  }
}

extension ConnectionRequest {
  /// What policy is asked about where the credentials cannot be read: as if they held the least.
  var presumedChannel: PolicyQuestion.Channel {
    switch credentials {
    case .none: return .plaintext
    case .psk(let file, _): return .psk(file: realPath(file) ?? file)
    case .systemTrust: return .x509(PolicyQuestion.X509(trustAnchors: nil))
    case .x509(let directory, _):
      let anchors = "\(directory)/ca-cert.pem"
      return .x509(PolicyQuestion.X509(trustAnchors: realPath(anchors) ?? anchors))
    }
  }

  /// The identity that a server's certificate would have to prove; nil where there is none.
  var presumedIdentity: ServerIdentity? {
    switch credentials {
    case .none, .psk: nil
    case .systemTrust, .x509: nameToVerify.flatMap { try? ServerIdentity($0) }
    }
  }
}
