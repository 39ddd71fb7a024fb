// SPDX-License-Identifier: Apache-2.0
import Foundation
import TLS
import TestSupport
import Testing

/// Credentials that cannot be read, are not valid yet, or too weak.
@Suite struct UnreadableCredentialTests {
  private func load(_ directory: String) -> CredentialError? {
    failure(CredentialError.self) { _ = try X509Credentials.load(directory: directory) }
  }

  /// A client's directory with an authority and a certificate of its own making.
  ///
  /// - Parameters:
  ///   - validity: lines of the authority's template.
  ///   - key: options of certtool for the client's key.
  private func made(
    validity: String, key: [String], hash: String = "SHA256"
  ) throws -> TemporaryDirectory {
    let place = try TemporaryDirectory()
    func file(_ name: String) -> String { place.file(name) }
    try place.write("ca.tmpl", "cn = \"own authority\"\nca\ncert_signing_key\n" + validity)
    try place.write(
      "client.tmpl",
      "cn = \"own client\"\nsigning_key\ntls_www_client\nexpiration_days = 9\n")
    for step in [
      ["--generate-privkey", "--key-type", "ecdsa", "--outfile", file("ca-key.pem")],
      [
        "--generate-self-signed", "--load-privkey", file("ca-key.pem"), "--template",
        file("ca.tmpl"), "--outfile", file("ca-cert.pem"),
      ],
      ["--generate-privkey"] + key + ["--outfile", file("client-key.pem")],
      [
        "--generate-certificate", "--load-ca-certificate", file("ca-cert.pem"),
        "--load-ca-privkey", file("ca-key.pem"), "--load-privkey", file("client-key.pem"),
        "--template", file("client.tmpl"), "--hash", hash, "--outfile", file("client-cert.pem"),
      ],
    ] {
      let done = try run("certtool", step)
      #expect(done.status == 0, "\(done)")
    }
    chmod(file("client-key.pem"), 0o600)
    return place
  }

  @Test func authorityOfTomorrow() throws {
    let place = try made(
      validity:
        "activation_date = \"2090-01-01 00:00:00\"\nexpiration_date = \"2095-01-01 00:00:00\"\n",
      key: ["--key-type", "ecdsa"])
    let error = load(place.path)
    #expect(error?.kind == .caNotYetValid)
    #expect(error?.file == place.file("ca-cert.pem"))
    #expect(error?.message.contains("2090") ?? false)
  }

  @Test(arguments: [
    (["--key-type", "rsa", "--bits", "1024"], "SHA256"), (["--key-type", "ecdsa"], "SHA1"),
  ])
  func weakClientCertificates(_ key: [String], _ hash: String) throws {
    let place = try made(validity: "expiration_days = 9\n", key: key, hash: hash)
    let error = load(place.path)
    #expect(error?.kind == .certificateTooWeak, "\(String(describing: error))")
    #expect(error?.file == place.file("client-cert.pem"))
  }

  /// Links that lead round in a circle, which not even root can follow.
  @Test func unreadableByAnybody() throws {
    let place = try TemporaryDirectory()
    symlink(place.file("loop"), place.file("loop"))
    #expect(load(place.file("loop"))?.kind == .directoryUnreadable)
    symlink(place.file("ca-cert.pem"), place.file("ca-cert.pem"))
    let error = load(place.path)
    #expect(error?.kind == .fileUnreadable)
    #expect(error?.file == place.file("ca-cert.pem"))
  }
}
