// SPDX-License-Identifier: Apache-2.0
import NBDProtocol

/// A checked wish to connect: where, to which export, and with which proof of identity.
public struct ConnectionRequest: Sendable, Hashable {
  /// Where credentials come from. They are read at each connection, so that renewed ones are seen.
  public enum CredentialSource: Sendable, Hashable {
    /// A directory with `ca-cert.pem` and the rest.
    case x509(directory: String, keyPasswordFile: String?)
    /// A file of pre-shared keys, and the line of it to use.
    case psk(file: String, identity: String?)
    /// The system's trust store.
    case systemTrust
    /// No TLS: plaintext was explicitly allowed.
    case none
  }

  /// Why it is these credentials and no others.
  public enum CredentialOrigin: String, Sendable, Hashable, Codable {
    /// An option or the URI names them.
    case named
    /// They lie in one of the default directories.
    case defaultDirectory
    /// Nothing is named or found: the system's trust store, or plaintext where that is allowed.
    case nothingFound
  }

  /// Seconds unless `--connect-timeout` says otherwise.
  public static let defaultConnectTimeout: Double = 30

  public internal(set) var endpoint: Endpoint
  public internal(set) var credentials: CredentialSource
  public internal(set) var credentialOrigin: CredentialOrigin
  /// The name to verify, where it is not the host's.
  public internal(set) var tlsHostname: String?
  /// "1.2" or "1.3".
  public internal(set) var minimumVersion: String
  public internal(set) var priority: String?
  /// The public keys of which the server must have one; none where it may have any.
  public internal(set) var pins: [PolicyPin]
  /// Policy files beyond the host's own.
  public internal(set) var policyFiles: [String]
  /// Seconds.
  public internal(set) var connectTimeout: Double

  /// Whether the session is plaintext, explicitly allowed.
  public var isPlaintext: Bool { credentials == .none }

  /// The name that the server's certificate must carry; nil for PSK and plaintext, and where
  /// there is none to verify.
  public var nameToVerify: String? {
    if let tlsHostname { return tlsHostname }
    if case .tcp(let host, _, _) = endpoint.transport { return host }
    return nil
  }
}
