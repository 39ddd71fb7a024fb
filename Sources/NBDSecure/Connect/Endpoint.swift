// SPDX-License-Identifier: Apache-2.0
import NBDProtocol

/// Where an export is served.
public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
  /// How the server is reached.
  public enum Transport: Hashable, Sendable {
    /// TCP. `host` is the name that the certificate must carry, `address` where we connect
    /// instead of what `host` resolves to.
    case tcp(host: String, port: UInt16, address: String?)
    /// A Unix stream socket.
    case unix(path: String)
    /// A vsock (vsock(7)).
    case vsock(cid: UInt32, port: UInt32)
  }

  /// The port that IANA registered for NBD.
  public static let defaultPort: UInt16 = 10809

  /// How the server is reached.
  public var transport: Transport
  /// The export's name; "" is the server's default export.
  public var export: String

  /// Makes an endpoint from its parts.
  public init(transport: Transport, export: String = "") {
    self.transport = transport
    self.export = export
  }

  /// The server as messages name it, without the export.
  public var server: String {
    switch transport {
    case .tcp(let host, let port, let address):
      let name = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
      return address.map { "\(name) (at \($0))" } ?? name
    case .unix(let path): return path
    case .vsock(let cid, let port): return "vsock \(cid):\(port)"
    }
  }

  /// Server and export as messages name them.
  public var description: String {
    export.isEmpty ? server : "\(server), export \"\(export)\""
  }
}
