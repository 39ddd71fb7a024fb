// SPDX-License-Identifier: Apache-2.0

/// What one file of credentials says, for people and for policy.
package struct CredentialFileFacts: Hashable, Sendable {
  /// What the file is there for.
  package enum Role: String, Hashable, Sendable {
    case trustAnchors, systemTrust, clientCertificate, clientKey, revocationLists, preSharedKeys
  }

  package let role: Role
  /// The path, or for the system's trust store a name.
  package let path: String
  /// Permission bits; nil for the system's trust store.
  package let mode: UInt32?
  /// The certificates in it, in the file's order.
  package internal(set) var certificates: [CertificateFacts] = []
  /// Kind and size of a private key, as "EC/ECDSA 256".
  package internal(set) var keyType: String?
  /// Whether a private key is stored encrypted.
  package internal(set) var keyIsEncrypted = false
  package internal(set) var revocationLists: [RevocationListFacts] = []
  /// The identities of a key file.
  package internal(set) var identities: [String] = []
  /// The identity that is used.
  package internal(set) var chosenIdentity: String?
  /// What is not wrong but worth saying, one line each.
  package internal(set) var notes: [String] = []

  init(role: Role, path: String, mode: UInt32?) {
    self.role = role
    self.path = path
    self.mode = mode
  }
}

/// What a revocation list says.
package struct RevocationListFacts: Hashable, Sendable {
  /// The issuer's distinguished name.
  package let issuer: String
  /// When it was issued, seconds since 1970.
  package let thisUpdate: Int64
  /// By when the next one is due, seconds since 1970; nil when it does not say.
  package let nextUpdate: Int64?
  /// How many certificates it revokes.
  package let entries: Int
}
