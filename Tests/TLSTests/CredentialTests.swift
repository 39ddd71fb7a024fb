// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import TLS
import TestSupport
import Testing

/// Every way in which the user's own files can be wrong has its own kind, and names the file.
@Suite struct CredentialTests {
  private func expect(
    _ kind: CredentialError.Kind, _ file: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ load: () throws -> Void
  ) {
    let error = failure(CredentialError.self, load)
    #expect(error?.kind == kind, "\(String(describing: error))", sourceLocation: sourceLocation)
    #expect(
      error?.message.hasPrefix(file + ": ") ?? false, "\(String(describing: error))",
      sourceLocation: sourceLocation)
    #expect(!(error?.message.contains("\n") ?? true), sourceLocation: sourceLocation)
  }

  /// A copy of a directory of the shared set, to break.
  private func copy(_ name: String) throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    for file in try FileManager.default.contentsOfDirectory(atPath: pki(name)) {
      try FileManager.default.copyItem(
        atPath: pki(name) + "/" + file, toPath: directory.file(file))
    }
    return directory
  }

  private func load(_ directory: TemporaryDirectory, passwordFile: String? = nil) throws {
    _ = try X509Credentials.load(directory: directory.path, keyPasswordFile: passwordFile)
  }

  @Test func facts() throws {
    let credentials = try X509Credentials.load(directory: pki("client"))
    #expect(credentials.files.map(\.role) == [.trustAnchors, .clientCertificate, .clientKey])
    #expect(credentials.files.map(\.mode) == [0o600, 0o600, 0o600])
    #expect(credentials.files[0].certificates[0].subject == "CN=nbd-secure test authority")
    #expect(credentials.files[0].certificates[0].isAuthority)
    #expect(credentials.files[1].certificates[0].issuer == "CN=nbd-secure test authority")
    #expect(credentials.files[2].keyType == "EC/ECDSA 256")
    #expect(credentials.hasClientCertificate)
    let listed = try X509Credentials.load(directory: pki("clients/crl"))
    #expect(listed.revocationLists.count == 1 && listed.revocationLists[0].entries == 1)
    #expect(!listed.hasClientCertificate)
  }

  @Test func directories() throws {
    let place = try TemporaryDirectory()
    expect(.directoryMissing, place.file("no")) {
      _ = try X509Credentials.load(directory: place.file("no"))
    }
    let file = try place.write("file", "")
    expect(.notADirectory, file) { _ = try X509Credentials.load(directory: file) }
    expect(.emptyDirectory, place.path) {
      _ = try Credentials.load(
        directory: place.directory("empty").replacingOccurrences(
          of: "/empty", with: ""))
    }
    let open = try copy("trust")
    for mode: mode_t in [0o775, 0o757, 0o777] {
      chmod(open.path, mode)
      expect(.directoryOpenToOthers, open.path) { try load(open) }
    }
    chmod(open.path, 0o1777)
    try load(open)
    let both = try copy("trust")
    try both.write("keys.psk", "alice:00112233445566778899aabbccddeeff\n")
    expect(.ambiguousDirectory, both.path) { _ = try Credentials.load(directory: both.path) }
    #expect(try Credentials.load(directory: both.path, kind: .psk).kind == .psk)
    #expect(try Credentials.load(directory: both.path, kind: .x509).kind == .x509)
    #expect(try Credentials.load(directory: pki("psk")).kind == .psk)
    #expect(try Credentials.load(directory: pki("trust")).kind == .x509)
  }

  @Test func authorities() throws {
    let place = try copy("client")
    let ca = place.file("ca-cert.pem")
    try FileManager.default.removeItem(atPath: ca)
    expect(.caMissing, ca) { try load(place) }
    try FileManager.default.createDirectory(atPath: ca, withIntermediateDirectories: false)
    expect(.notRegular, ca) { try load(place) }
    try FileManager.default.removeItem(atPath: ca)
    mkfifo(ca, 0o600)
    expect(.notRegular, ca) { try load(place) }
    try FileManager.default.removeItem(atPath: ca)
    for text in ["", "nonsense\n", String(repeating: "x", count: 100_000)] {
      try place.write("ca-cert.pem", text)
      expect(.caEmpty, ca) { try load(place) }
    }
    try place.write(
      "ca-cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    expect(.caNotPEM, ca) { try load(place) }
    try place.write("ca-cert.pem", [UInt8](repeating: 10, count: 17 << 20))
    expect(.tooLarge, ca) { try load(place) }
    expect(.caNotAuthority, try pki("clients/not-a-ca") + "/ca-cert.pem") {
      _ = try x509("clients/not-a-ca")
    }
    expect(.caExpired, try pki("clients/expired-ca") + "/ca-cert.pem") {
      _ = try x509("clients/expired-ca")
    }
    // Beside a valid one, an expired one is left out and told.
    let two = try copy("trust")
    try two.write(
      "ca-cert.pem",
      String(contentsOfFile: pki("expired-ca.pem"), encoding: .utf8)
        + String(contentsOfFile: pki("ca.pem"), encoding: .utf8))
    let files = try X509Credentials.load(directory: two.path).files
    #expect(files[0].certificates.count == 2 && files[0].notes.count == 1)
    for mode: mode_t in [0o664, 0o646, 0o666] {
      chmod(two.file("ca-cert.pem"), mode)
      expect(.writableByOthers, two.file("ca-cert.pem")) { try load(two) }
    }
  }

  /// Who owns a file can change it, whatever its mode says.
  @Test func owners() throws {
    // What is closed to us can belong to whom it will: only root comes as far as that.
    let secret: CredentialError.Kind = geteuid() == 0 ? .ownedByOthers : .fileUnreadable
    for name in ["ca-cert.pem", "client-cert.pem", "client-key.pem"] {
      let place = try copy("client")
      chmod(place.file(name), name == "client-key.pem" ? 0o600 : 0o644)
      try givenAway(place.file(name)) {
        expect(name == "client-key.pem" ? secret : .ownedByOthers, place.file(name)) {
          try load(place)
        }
      }
    }
    let keys = try copy("psk")
    try givenAway(keys.file("keys.psk")) {
      expect(secret, keys.file("keys.psk")) {
        _ = try PSKCredentials.load(file: keys.file("keys.psk"))
      }
    }
    let place = try copy("client")
    chmod(place.path, 0o755)
    try givenAway(place.path) { expect(.directoryOfOthers, place.path) { try load(place) } }
  }

  @Test func halves() throws {
    let noKey = try copy("client")
    try FileManager.default.removeItem(atPath: noKey.file("client-key.pem"))
    expect(.certificateWithoutKey, noKey.file("client-cert.pem")) { try load(noKey) }
    let noCertificate = try copy("client")
    try FileManager.default.removeItem(atPath: noCertificate.file("client-cert.pem"))
    expect(.keyWithoutCertificate, noCertificate.file("client-key.pem")) {
      try load(noCertificate)
    }
    // A link that leads nowhere is somebody's intention too.
    symlink("/nowhere/at/all", noCertificate.file("client-cert.pem"))
    let error = failure(CredentialError.self) { try load(noCertificate) }
    #expect(error?.file == noCertificate.file("client-cert.pem"))
  }

  @Test func keys() throws {
    let place = try copy("client")
    let key = place.file("client-key.pem")
    for mode: mode_t in [0o640, 0o604, 0o660, 0o644] {
      chmod(key, mode)
      expect(.keyExposed, key) { try load(place) }
    }
    chmod(key, 0o400)
    try load(place)
    try place.write("client-key.pem", "nonsense")
    expect(.keyNotPEM, key) { try load(place) }
    try place.write("client-key.pem", [UInt8](repeating: 10, count: 70 << 10))
    expect(.tooLarge, key) { try load(place) }
    expect(.keyMismatch, try pki("clients/mismatch/client-key.pem")) {
      _ = try x509("clients/mismatch")
    }
  }

  @Test func encryptedKeys() throws {
    let key = try pki("clients/encrypted/client-key.pem")
    expect(.keyEncrypted, key) { _ = try x509("clients/encrypted") }
    expect(.keyPasswordWrong, key) {
      _ = try x509("clients/encrypted", passwordFile: pki("clients/encrypted/wrong-password"))
    }
    let place = try copy("clients/encrypted")
    expect(.passwordFileMissing, place.file("none")) {
      try load(place, passwordFile: place.file("none"))
    }
    for text in ["", "\n", "a\0b\n"] {
      let file = try place.write("password", text)
      expect(.passwordFileMalformed, file) { try load(place, passwordFile: file) }
    }
    let file = try place.write("password", "opensesame\r\nand more", mode: 0o644)
    expect(.passwordFileExposed, file) { try load(place, passwordFile: file) }
    chmod(file, 0o600)
    try load(place, passwordFile: file)
    let facts = try X509Credentials.load(directory: place.path, keyPasswordFile: file)
    #expect(facts.files[2].keyIsEncrypted)
  }

  @Test(arguments: [
    ("other-ca", CredentialError.Kind.certificateNotFromCA), ("expired", .certificateExpired),
    ("not-yet-valid", .certificateNotYetValid), ("server-purpose", .certificateWrongPurpose),
    ("revoked", .certificateRevoked),
  ])
  func clientCertificates(_ name: String, _ kind: CredentialError.Kind) throws {
    expect(kind, try pki("clients/\(name)/client-cert.pem")) { _ = try x509("clients/\(name)") }
  }

  /// Empty and not PEM are told apart, in every file.
  @Test(arguments: ["ca-cert.pem", "client-cert.pem", "client-key.pem", "ca-crl.pem"])
  func filesThatAreNone(_ name: String) throws {
    for (text, why) in [("", "is empty"), (" \n", "is empty"), ("nonsense", "is not PEM")] {
      let place = try copy(name.hasPrefix("client") ? "client" : "clients/crl")
      try place.write(name, text)
      if name == "client-key.pem" { chmod(place.file(name), 0o600) }
      do {
        try load(place)
        Issue.record("\(name) was taken")
      } catch let error as CredentialError {
        #expect(error.message == "\(place.file(name)): \(why)")
      }
    }
  }

  @Test func clientCertificateThatIsNone() throws {
    let place = try copy("client")
    try place.write("client-cert.pem", "nonsense")
    expect(.certificateNotPEM, place.file("client-cert.pem")) { try load(place) }
  }

  @Test(arguments: [
    ("crl-expired", CredentialError.Kind.crlExpired), ("crl-not-yet-valid", .crlNotYetValid),
    ("crl-other-ca", .crlForeign),
  ])
  func revocationLists(_ name: String, _ kind: CredentialError.Kind) throws {
    expect(kind, try pki("clients/\(name)/ca-crl.pem")) { _ = try x509("clients/\(name)") }
  }

  @Test func revocationListThatIsNone() throws {
    let place = try copy("clients/crl")
    let path = place.file("ca-crl.pem")
    let good = try String(contentsOfFile: path, encoding: .utf8)
    for text in ["", "nonsense"] {
      try place.write("ca-crl.pem", text)
      expect(.crlNotPEM, path) { try load(place) }
    }
    // The last bytes of the DER are the signature's.
    let made = try run(
      "/bin/sh",
      [
        "-c",
        """
        certtool --crl-info --outder --infile "$1" 2>/dev/null | head -c -1 >"$1.der"
        printf x >>"$1.der"
        certtool --crl-info --inder --no-text --infile "$1.der" --outfile "$1"
        """, "sh", try place.write("ca-crl.pem", good),
      ])
    #expect(made.status == 0, "\(made)")
    expect(.crlBadSignature, path) { try load(place) }
  }

  /// What a reconnection reads is what is there then.
  @Test func renewal() throws {
    let place = try copy("trust")
    try load(place)
    try FileManager.default.removeItem(atPath: place.file("ca-cert.pem"))
    expect(.caMissing, place.file("ca-cert.pem")) { try load(place) }
  }

  /// An authority that policy fixes takes the place of the directory's own.
  @Test func fixedAnchors() throws {
    let credentials = try X509Credentials.load(
      directory: pki("other-ca"), trustAnchors: pki("ca.pem"))
    #expect(credentials.files[0].path == (try pki("ca.pem")))
    try prove(server(), .x509(credentials))
  }
}
