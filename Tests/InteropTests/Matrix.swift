// SPDX-License-Identifier: Apache-2.0
import TestSupport

/// Every combination of server, TLS version and authentication that exists: on IPv4 all of them, on
/// the other transports one for each server.
func serverMatrix(transports: [Transport] = [.ipv4]) -> [ServerConfiguration] {
  var all: [ServerConfiguration] = []
  for program in ServerProgram.allCases {
    for transport in transports {
      for authentication in program.authentications {
        for version in TLSVersion.allCases {
          if transport != .ipv4 && (authentication == .psk || version != .v13) { continue }
          all.append(
            ServerConfiguration(
              program, transport, tls: .required(authentication, version), export: "disk-1",
              exportDescription: program == .nbdServer ? nil : "the first disk"))
        }
      }
    }
  }
  return all
}

extension ServerProgram {
  /// The size that NBD_OPT_INFO tells: nbd-server 3.24 answers before it has looked at the file.
  func sizeInInformation(_ size: Int) -> UInt64 { self == .nbdServer ? 0 : UInt64(size) }
}

extension Server {
  /// The server as libnbd names it, with the right credentials.
  func libnbdURI() throws -> String {
    let key =
      switch configuration.tls.authentication {
      case nil: ""
      case .x509: "tls-certificates=\(pki.trustOnly)"
      case .x509WithClientCertificate: "tls-certificates=\(pki.client)"
      case .psk: "tls-psk-file=\(pki.pskFile)"
      }
    let user = configuration.tls.authentication == .psk ? "alice@" : ""
    let name = configuration.export
    switch configuration.transport {
    case .unix:
      return "nbds+unix://\(user)/\(name)?socket=\(socketPath)&tls-hostname=localhost&\(key)"
    // libnbd sends an IP literal as SNI, which servers reject: the name resolves to both addresses.
    case .ipv4, .ipv6: return "nbds://\(user)localhost:\(port)/\(name)?\(key)"
    }
  }
}
