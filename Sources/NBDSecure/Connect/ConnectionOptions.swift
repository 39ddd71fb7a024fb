// SPDX-License-Identifier: Apache-2.0

/// Kinds of credentials.
package enum CredentialKind: Sendable, Hashable { case x509, psk }

/// How to reach and to trust a server, as a user gave it: what the options of the same names say,
/// unchecked. `ConnectionRequest` is the checked form.
public struct ConnectionOptions: Sendable, Hashable {
  /// An NBD URI.
  public var endpoint: String?
  public var hostname: String?
  public var port: Int?
  public var address: String?
  public var unix: String?
  public var vsock: String?
  public var tlsHostname: String?
  public var export: String?
  public var tlsCredentials: String?
  /// The kind that a URI asks for with tls-type.
  package var kind: CredentialKind?
  /// Whether a URI says tls-verify-peer=1.
  package var mustVerify = false
  /// Whether credentials that nobody named are looked for in the host's directory alone, and not in
  /// the caller's: an attachment is the same whoever makes it.
  package var usesHostCredentialsOnly = false
  public var pskFile: String?
  public var pskIdentity: String?
  public var tlsKeyPasswordFile: String?
  public var tlsMinimumVersion: String?
  public var tlsPriority: String?
  public var tlsPins: [String] = []
  public var allowPlaintext = false
  public var policyFiles: [String] = []
  /// Seconds, for everything from the name lookup to the last option reply.
  public var connectTimeout: Double = ConnectionRequest.defaultConnectTimeout

  /// No options at all.
  public init() {}
}
