// SPDX-License-Identifier: Apache-2.0

/// With what we prove who we are, and judge the server. A value exists only when all of it has been
/// checked; load it again for every connection, so that renewed files are picked up.
package enum Credentials: Sendable {
  /// Certificates: trust anchors, perhaps revocation lists and a certificate of ours.
  case x509(X509Credentials)
  /// A pre-shared key, and nothing else: beside certificate credentials it would not be the proof.
  case psk(PSKCredentials)

  /// The kinds, for choosing in a directory that could be either.
  package enum Kind: String, Hashable, Sendable {
    case x509, psk
  }

  package var kind: Kind {
    switch self {
    case .x509: .x509
    case .psk: .psk
    }
  }

  /// What the files say, one by one.
  package var files: [CredentialFileFacts] {
    switch self {
    case .x509(let credentials): credentials.files
    case .psk(let credentials): credentials.files
    }
  }
}
