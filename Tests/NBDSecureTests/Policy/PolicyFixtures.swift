// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import NBDSecure

/// Questions and files for the policy tests.
enum Fixture {
  static let now: Int64 = 1_800_000_000
  static let day: Int64 = 86_400
  static let keyA = PolicyPin("sha256:" + String(repeating: "a1", count: 32))!
  static let keyB = PolicyPin("sha256:" + String(repeating: "b2", count: 32))!

  static func file(_ text: String, path: String = "test.toml") throws -> PolicyFile {
    try PolicyFile(parsing: text, path: path) { $0 }
  }

  static func set(_ texts: String...) throws -> PolicySet {
    PolicySet(
      files: try texts.enumerated().map { try file($1, path: "\($0 + 1).toml") })
  }

  static func tcp(
    _ host: String = "db1.example.net", via: String? = nil,
    addresses: [String] = ["10.1.2.3"]
  ) -> PolicyQuestion.Transport {
    .tcp(host: host, via: via, port: 10809, addresses: addresses)
  }

  /// A connection with all that a policy may ask for.
  static func question(
    _ transport: PolicyQuestion.Transport = tcp(), verifiedName: String? = "db1.example.net",
    channel: PolicyQuestion.Channel = .x509(credentials()), export: String? = "vol1",
    dataPaths: Set<PolicyDataPath> = [.relay, .ktls], pins: Set<PolicyPin>? = nil,
    minimumVersion: PolicyTLSVersion = .tls12, readOnly: Bool = false, needsToWrite: Bool = false
  ) -> PolicyQuestion {
    PolicyQuestion(
      transport: transport, channel: channel, verifiedName: verifiedName, export: export,
      dataPaths: dataPaths, minimumVersion: minimumVersion, pins: pins,
      readOnly: readOnly, needsToWrite: needsToWrite, now: now)
  }

  static func credentials(
    anchors: String? = "/etc/pki/ca.pem", client: Bool = true, crlAge: Int64? = 1
  ) -> PolicyQuestion.X509 {
    PolicyQuestion.X509(
      trustAnchors: anchors, hasClientCertificate: client,
      clientCertificateNotAfter: client ? now + 90 * day : nil,
      revocationListIssued: crlAge.map { now - $0 * day })
  }

  static func proof(
    address: String? = "10.1.2.3", version: PolicyTLSVersion = .tls13,
    cipher: String = "AES-256-GCM", group: String? = "X25519",
    authentication: PolicyAuthentication = .x509, key: PolicyPin? = keyA,
    previousKey: PolicyPin? = nil, remainingDays: Int64 = 60,
    verifiedName: String? = "db1.example.net", names: [String] = ["db1.example.net"],
    unlisted: String? = nil
  ) -> PolicyProof {
    PolicyProof(
      address: address,
      session: PolicyProof.Session(
        version: version, cipher: cipher, group: group, authentication: authentication,
        peerKey: authentication == .x509 ? key : nil, previousPeerKey: previousKey,
        peerNotAfter: authentication == .x509 ? now + remainingDays * day : nil,
        verifiedName: authentication == .x509 ? verifiedName : nil, certificateNames: names,
        unlistedCertificate: unlisted))
  }
}
