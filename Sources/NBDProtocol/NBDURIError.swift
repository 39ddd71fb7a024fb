// SPDX-License-Identifier: Apache-2.0

/// What is wrong with an NBD URI. All of them are mistakes of whoever wrote it: exit status 64.
package enum NBDURIError: Error, Hashable, Sendable, CustomStringConvertible {
  case noScheme
  case unknownScheme(String)
  /// A character that a URI must percent-encode.
  case character(String)
  /// "%" without two hexadecimal digits.
  case percentEncoding(in: String)
  case notUTF8(in: String)
  case nul(in: String)
  case fragment
  case relativePath
  case noHost
  case host(String)
  case ipv6Brackets(String)
  case port(String)
  case vsockCID(String)
  case vsockPort(String)
  case emptyUser
  case password
  case hostForUnixSocket(String)
  case noSocket
  case socketWithoutUnix
  case unknownKey(String)
  case repeatedKey(String)
  case emptyValue(String)
  case verifyPeerOff
  case verifyPeer(String)
  case tlsType(String)
  case contradiction(String)
  case exportName(ExportNameError)

  /// One line for the user.
  package var description: String {
    func quoted(_ text: String) -> String { Printable.quoted(text, limit: 80) }
    switch self {
    case .noScheme: return "no scheme: a URI begins with nbds://, nbds+unix:// or nbds+vsock://"
    case .unknownScheme(let scheme): return "unknown scheme \(quoted(scheme))"
    case .character(let text): return "\(quoted(text)) must be percent-encoded in a URI"
    case .percentEncoding(let part): return "a % in \(part) is not followed by two hex digits"
    case .notUTF8(let part): return "\(part) is not UTF-8 once decoded"
    case .nul(let part): return "\(part) contains a NUL character"
    case .fragment: return "a URI of an export has no #fragment; write %23 for a # in a name"
    case .relativePath: return "the export name must follow a slash"
    case .noHost: return "no host"
    case .host(let host): return "\(quoted(host)) is not a host name or address"
    case .ipv6Brackets(let host): return "bad IPv6 address \(quoted(host)): write [::1]"
    case .port(let port): return "bad port \(quoted(port)): a number from 1 to 65535 is due"
    case .vsockCID(let cid): return "bad vsock CID \(quoted(cid)): a number below 4294967295 is due"
    case .vsockPort(let port):
      return "bad vsock port \(quoted(port)): a number from 1 to 4294967294 is due"
    case .emptyUser: return "the user before the @ is empty"
    case .password: return "a URI may name a PSK identity, but never hold a secret"
    case .hostForUnixSocket(let host):
      return "a Unix socket has no host (\(quoted(host))): write nbds+unix:///export?socket=PATH"
    case .noSocket: return "no socket: write nbds+unix:///export?socket=PATH"
    case .socketWithoutUnix: return "the key socket belongs to nbds+unix:// and nbd+unix:// only"
    case .unknownKey(let key): return "unknown key \(quoted(key))"
    case .repeatedKey(let key): return "the key \(key) comes twice"
    case .emptyValue(let key): return "the key \(key) has no value"
    case .verifyPeerOff:
      return "tls-verify-peer=0 is refused: this program always verifies the server"
    case .verifyPeer(let value): return "tls-verify-peer=\(quoted(value)): only 1 is possible"
    case .tlsType("anon"):
      return "tls-type=anon is refused: this program always verifies the server"
    case .tlsType(let value): return "unknown tls-type \(quoted(value)): x509 or psk is due"
    case .contradiction(let what): return "contradiction: \(what)"
    case .exportName(let error): return error.description
    }
  }
}
