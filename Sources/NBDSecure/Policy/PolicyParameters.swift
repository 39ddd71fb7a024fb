// SPDX-License-Identifier: Apache-2.0

/// What a connection that policy allows must keep to: the strictest of all that applies.
/// A nil set means that policy does not choose.
public struct PolicyParameters: Hashable, Sendable {
  /// The oldest TLS version to offer: policy's or the user's, whichever is newer.
  public var minimumVersion: PolicyTLSVersion
  /// GnuTLS names, best first; never empty.
  public var ciphers: [String]?
  /// GnuTLS names, best first; never empty.
  public var groups: [String]?
  /// The kinds of authentication that policy leaves.
  public var authentication: Set<PolicyAuthentication>
  /// Where plaintext is permitted.
  public var plaintext: PolicyPlaintext
  /// Whether the client must show a certificate.
  public var requiresClientCertificate = false
  /// Whether a revocation list must be there.
  public var requiresRevocationList = false
  /// The largest age of the revocation list, in seconds.
  public var revocationListMaximumAge: Int64?
  /// How long certificates must still be valid, in seconds.
  public var minimumRemainingValidity: Int64?
  /// The server's key must be one of these: policy's pins and the user's; never empty.
  public var pins: Set<PolicyPin>?
  /// Whether a reconnection must find the key of the first connection.
  public var sameKey = false
  /// The CA files that may be used (`system` for the system's trust store).
  public var trustAnchors: Set<String>?
  /// The pre-shared key files that may be used.
  public var pskFiles: Set<String>?
  /// Whether the device must be read-only: by policy or because the user said so.
  public var readOnly: Bool
  /// The data paths that policy leaves of those that were asked for.
  public var dataPaths: Set<PolicyDataPath>
  /// Which places of which files set a parameter, by policy key.
  public var origins: [String: [String]] = [:]

  /// What the user asked for, before policy adds anything.
  init(asked question: PolicyQuestion) {
    minimumVersion = question.minimumVersion
    authentication = Set(PolicyAuthentication.allCases)
    plaintext = .allowed
    pins = question.pins
    readOnly = question.readOnly
    dataPaths = question.dataPaths
  }
}
