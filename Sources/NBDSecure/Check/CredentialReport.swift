// SPDX-License-Identifier: Apache-2.0
import TLS

/// The credentials that a connection would use, file by file. Never a secret.
public struct CredentialReport: Encodable, Sendable, Hashable {
  /// One certificate.
  public struct Certificate: Encodable, Sendable, Hashable {
    public let subject: String
    public let issuer: String
    /// Seconds since 1970.
    public let notBefore: Int64
    /// Seconds since 1970.
    public let notAfter: Int64
    /// Whole days until its end, negative when that is past.
    public let daysLeft: Int64
    public let keyType: String
    public let signatureAlgorithm: String
  }

  /// One revocation list.
  public struct RevocationList: Encodable, Sendable, Hashable {
    public let issuer: String
    /// Seconds since 1970.
    public let thisUpdate: Int64
    /// Seconds since 1970.
    public let nextUpdate: Int64?
    /// How many certificates it revokes.
    public let entries: Int
  }

  /// One file.
  public struct File: Encodable, Sendable, Hashable {
    /// `trustAnchors`, `systemTrust`, `clientCertificate`, `clientKey`, `revocationLists` or
    /// `preSharedKeys`.
    public let role: String
    public let path: String
    /// Permission bits in octal; nil for the system's trust store.
    public let mode: String?
    public let certificates: [Certificate]
    /// Kind and size of a private key.
    public let keyType: String?
    public let keyIsEncrypted: Bool
    public let revocationLists: [RevocationList]
    /// The identities of a file of pre-shared keys.
    public let identities: [String]
    public let chosenIdentity: String?
    public let notes: [String]
  }

  /// `x509`, `psk`, `systemTrust`, or `none` for plaintext.
  public let kind: String
  /// The directory, or the file of pre-shared keys.
  public let path: String?
  public let origin: ConnectionRequest.CredentialOrigin
  public internal(set) var files: [File] = []

  init(
    _ source: ConnectionRequest.CredentialSource, _ origin: ConnectionRequest.CredentialOrigin
  ) {
    self.origin = origin
    switch source {
    case .x509(let directory, _): (kind, path) = ("x509", directory)
    case .psk(let file, _): (kind, path) = ("psk", file)
    case .systemTrust: (kind, path) = ("systemTrust", nil)
    case .none: (kind, path) = ("none", nil)
    }
  }

  /// Which credentials, and why these.
  var choice: String {
    let what =
      switch kind {
      case "x509": "certificates in \(path ?? "")"
      case "psk": "a pre-shared key in \(path ?? "")"
      case "systemTrust": "the system's trust store, without a certificate of ours"
      default: "none: plaintext, by --allow-plaintext"
      }
    let why =
      switch origin {
      case .named: "named"
      case .defaultDirectory: "found in a default directory; --tls-creds names another"
      case .nothingFound: "no credentials are named or found in the default directories"
      }
    return "\(what) (\(why))"
  }
}

extension CredentialReport.File {
  init(_ facts: CredentialFileFacts, now: Int64) {
    self.init(
      role: facts.role.rawValue, path: facts.path,
      mode: facts.mode.map { String($0 & 0o7777, radix: 8) },
      certificates: facts.certificates.map { CredentialReport.Certificate($0, now: now) },
      keyType: facts.keyType, keyIsEncrypted: facts.keyIsEncrypted,
      revocationLists: facts.revocationLists.map {
        CredentialReport.RevocationList(
          issuer: $0.issuer, thisUpdate: $0.thisUpdate, nextUpdate: $0.nextUpdate,
          entries: $0.entries)
      },
      identities: facts.identities, chosenIdentity: facts.chosenIdentity, notes: facts.notes)
  }

  /// One line for each thing that the file holds.
  func lines(now: Int64) -> [(mark: CheckReport.Mark, text: String)] {
    let place = mode.map { "\(path) (mode \($0))" } ?? path
    var lines: [(CheckReport.Mark, String)] = certificates.map { certificate in
      let text =
        "\(place): \(certificate.subject), \(certificate.origin), \(certificate.keyType), "
        + Expiry.phrase(certificate.notAfter, now: now)
      return (Expiry.isNear(certificate.notAfter, now: now) ? .warning : .ok, text)
    }
    lines += revocationLists.map { list in
      let next = list.nextUpdate.map { ", next due on \(Text.date($0).prefix(10))" } ?? ""
      return (
        .ok,
        "\(place): revocation list of \(list.issuer), \(list.entries) revoked, "
          + "issued on \(Text.date(list.thisUpdate).prefix(10))\(next)"
      )
    }
    if let keyType {
      lines.append((.ok, "\(place): \(keyType) key\(keyIsEncrypted ? ", encrypted" : "")"))
    }
    if let chosenIdentity {
      let others = identities.count > 1 ? ", one of \(identities.count)" : ""
      lines.append((.ok, "\(place): key of identity \(chosenIdentity)\(others)"))
    }
    if lines.isEmpty { lines.append((.ok, place)) }
    return lines + notes.map { (.warning, "\(path): \($0)") }
  }
}

extension CredentialReport.Certificate {
  fileprivate var origin: String {
    subject == issuer ? "issued by itself" : "issued by \(issuer)"
  }

  fileprivate init(_ facts: CertificateFacts, now: Int64) {
    self.init(
      subject: facts.subject, issuer: facts.issuer, notBefore: facts.notBefore,
      notAfter: facts.notAfter, daysLeft: Expiry.daysLeft(facts.notAfter, now: now),
      keyType: facts.keyType, signatureAlgorithm: facts.signatureAlgorithm)
  }
}
