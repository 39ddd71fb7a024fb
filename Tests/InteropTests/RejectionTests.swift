// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// A server that wants a client certificate, or refuses ours or our key, is named as such: by
/// whatever verb, in both versions of TLS, whether it says so or just closes.
@Suite(.serialized) struct RejectionTests {
  private let pki: PKI

  init() throws { pki = try PKI.shared.get() }

  /// A way to be turned away.
  enum Case: String, CaseIterable, Sendable {
    case certificateMissing, certificateRejected, keyWrong, identityUnknown

    var saying: String {
      switch self {
      case .certificateMissing: "the server wants a client certificate"
      case .certificateRejected: "the server rejected our client certificate"
      case .keyWrong: "the pre-shared key “alice”"
      case .identityUnknown: "the pre-shared key “bob”"
      }
    }

    var hinting: String {
      switch self {
      case .certificateMissing, .certificateRejected: "client-cert.pem"
      case .keyWrong, .identityUnknown: "key file"
      }
    }

    func credentials(_ pki: PKI) -> [String] {
      switch self {
      case .certificateMissing: ["--tls-creds", pki.trustOnly]
      case .certificateRejected: ["--tls-creds", pki.path("clients/stranger")]
      case .keyWrong: ["--tls-creds", pki.path("psk-wrong")]
      case .identityUnknown: ["--tls-creds", pki.path("psk-several"), "--psk-identity", "bob"]
      }
    }
  }

  private static let versions = Case.allCases.flatMap { wanted in
    TLSVersion.allCases.map { (wanted, $0) }
  }

  /// Servers that send an alert, as GnuTLS chooses it, and servers that do not.
  @Test(arguments: versions, [true, false])
  func scripted(_ wanted: (Case, TLSVersion), alerts: Bool) throws {
    let (wanted, version) = wanted
    var identity = identity(for: wanted, version)
    identity.sendsAlerts = alerts
    let server = try FakeServer { [identity] client in
      try client.greet()
      try client.acceptTLS(identity)
    }
    try everyVerb(wanted, at: address(server.port))
  }

  @Test(arguments: [ServerProgram.nbdkit, .qemuNBD], versions)
  func real(_ program: ServerProgram, _ wanted: (Case, TLSVersion)) throws {
    let (wanted, version) = wanted
    let authentication: Authentication =
      switch wanted {
      case .certificateMissing, .certificateRejected: .x509WithClientCertificate
      case .keyWrong, .identityUnknown: .psk
      }
    let server = try Server(
      ServerConfiguration(program, tls: .required(authentication, version)))
    try everyVerb(wanted, at: server.address)
  }

  @Test(arguments: [Case.certificateMissing, .certificateRejected], TLSVersion.allCases)
  func nbdServer(_ wanted: Case, _ version: TLSVersion) throws {
    let server = try Server(
      ServerConfiguration(
        .nbdServer, tls: .required(.x509WithClientCertificate, version), export: "disk-1"))
    try everyVerb(wanted, at: server.address)
  }

  /// Alerts of other implementations, which let the handshake succeed first: bad_certificate to
  /// unknown_ca, access_denied, certificate_required. And those that only say goodbye.
  @Test(arguments: [42, 43, 44, 45, 46, 48, 49, 116, nil] as [UInt32?])
  func afterTheHandshake(_ alert: UInt32?) throws {
    var identity = identity(for: .certificateRejected, .v13)
    if case .x509(let certificate, let key, _) = identity.kind {
      identity.kind = .x509(
        certificate: certificate, key: key, clientCA: pki.path("clients/stranger/ca-cert.pem"))
    }
    let server = try FakeServer { [identity] client in
      try client.greet()
      try client.acceptTLS(identity)
      if let alert {
        client.session?.alert(number: alert, fatal: true)
      } else {
        client.session?.endSession()
      }
      client.shutdownWrite()
    }
    try everyVerb(.certificateRejected, at: address(server.port))
  }

  private func identity(for wanted: Case, _ version: TLSVersion) -> TLSServerIdentity {
    let only = ":-VERS-ALL:+VERS-\(version.gnutlsName)"
    switch wanted {
    case .certificateMissing, .certificateRejected:
      return .x509(
        certificate: pki.server + "/server-cert.pem", key: pki.server + "/server-key.pem",
        clientCA: pki.path("ca.pem"), priority: "NORMAL" + only)
    case .keyWrong, .identityUnknown:
      return .psk(file: pki.pskFile, priority: "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK" + only)
    }
  }

  private func address(_ port: Int) -> [String] {
    ["--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(port)"]
  }

  /// `info` and `list` ask, `proxy` goes into the transmission phase as attach does, `check` tells.
  private func everyVerb(_ wanted: Case, at address: [String]) throws {
    let arguments = wanted.credentials(pki) + address
    let directory = try TemporaryDirectory()
    for verb in [["info"], ["list"], ["proxy", "--listen", directory.file("nbd.sock")]] {
      let seen = try nbdSecure(verb + arguments)
      #expect(
        seen.deviations(status: 77, saying: ["localhost", wanted.saying], hinting: wanted.hinting)
          == [], "\(verb)")
    }
    let report = try CheckOutput(nbdSecure(["check", "--json"] + arguments))
    #expect(report.outcome.status == report.expected(77), "\(report.outcome)")
    let failure = try #require(report.failures.last)
    #expect(failure.code == "identity")
    #expect(failure.summary.contains(wanted.saying))
  }
}
