// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Who is believed and who is not: the TLS scenarios that QEMU's own tests know, against real servers
/// of both kinds.
@Suite(.serialized) struct TrustTests {
  private let pki: PKI

  init() throws { pki = try PKI.shared.get() }

  private static let both = [ServerProgram.nbdkit, .qemuNBD]
  private static let versions = both.flatMap { program in TLSVersion.allCases.map { (program, $0) }
  }

  @Test(arguments: ServerProgram.allCases) func plainServerIsRefused(_ program: ServerProgram)
    throws
  {
    let server = try Server(ServerConfiguration(program, tls: .off))
    let seen = try nbdSecure(["info", "--tls-creds", pki.trustOnly] + server.address)
    #expect(seen.deviations(status: 78, saying: ["TLS"], hinting: "--allow-plaintext") == [])
    // Credentials make TLS required, whatever else is allowed.
    let allowed = try nbdSecure(
      ["info", "--tls-creds", pki.trustOnly, "--allow-plaintext"] + server.address)
    #expect(allowed.deviations(status: 78, saying: ["TLS"]) == [])
  }

  @Test(arguments: ServerProgram.allCases, Transport.allCases)
  func plainServerWorksWherePlaintextIsAllowed(_ program: ServerProgram, _ transport: Transport)
    throws
  {
    let server = try Server(ServerConfiguration(program, transport, tls: .off, export: "disk-1"))
    let seen = try nbdSecure(["info", "--json", "--allow-plaintext"] + server.address)
    #expect(seen.status == 0, "\(seen)")
    let found = try JSONDecoder().decode(Information.self, from: Data(seen.stdout.utf8))
    #expect(found.size == program.sizeInInformation(server.configuration.size))
    #expect(found.tls == nil)
  }

  @Test(arguments: ServerProgram.allCases) func tlsServerRefusesPlaintext(_ program: ServerProgram)
    throws
  {
    let server = try Server(ServerConfiguration(program))
    let seen = try nbdSecure(["info", "--allow-plaintext"] + server.address)
    #expect(seen.deviations(status: 69, saying: ["TLS"], hinting: "--tls-creds") == [])
  }

  @Test(arguments: versions) func strangersAreRefused(
    _ program: ServerProgram, _ version: TLSVersion
  ) throws {
    let server = try Server(ServerConfiguration(program, tls: .required(.x509, version)))
    let other = try nbdSecure(["info", "--tls-creds", pki.otherCA] + server.address)
    #expect(other.deviations(status: 77, saying: ["localhost"]) == [])
    // The system's trust store does not know our authority either.
    let system = try nbdSecure(["info"] + server.address)
    #expect(system.deviations(status: 77, saying: ["localhost"]) == [])
  }

  @Test(arguments: versions) func namesMustMatch(_ program: ServerProgram, _ version: TLSVersion)
    throws
  {
    let wanted = ServerConfiguration(program, tls: .required(.x509, version), export: "")
    let server = try Server(wanted)
    let to = ["--address", "127.0.0.1", "--port", "\(server.port)", "--tls-creds", pki.trustOnly]
    let wrong = try nbdSecure(["info", "--hostname", "disks.example"] + to)
    #expect(wrong.deviations(status: 77, saying: ["disks.example"]) == [])
    let address = try nbdSecure(["info", "--hostname", "127.0.0.2"] + to)
    #expect(address.deviations(status: 77, saying: ["127.0.0.2"]) == [])
    let override = try nbdSecure(
      ["info", "--hostname", "disks.example", "--tls-hostname", "localhost"] + to)
    #expect(override.status == 0, "\(override)")
    let wrongOverride = try nbdSecure(
      ["info", "--hostname", "localhost", "--tls-hostname", "disks.example"] + to)
    #expect(wrongOverride.deviations(status: 77, saying: ["disks.example"]) == [])
    let literal = try nbdSecure(
      ["info", "--hostname", "127.0.0.1", "--port", "\(server.port)", "--tls-creds", pki.trustOnly])
    #expect(literal.status == 0, "\(literal)")
  }

  @Test(arguments: both) func unixSocketsNeedAName(_ program: ServerProgram) throws {
    let server = try Server(ServerConfiguration(program, .unix, export: ""))
    let to = ["--unix", server.socketPath, "--tls-creds", pki.trustOnly]
    #expect(try nbdSecure(["info"] + to).deviations(status: 64, hinting: "--tls-hostname") == [])
    let named = try nbdSecure(["info", "--tls-hostname", "localhost"] + to)
    #expect(named.status == 0, "\(named)")
    let wrong = try nbdSecure(["info", "--tls-hostname", "disks.example"] + to)
    #expect(wrong.deviations(status: 77, saying: ["disks.example"]) == [])
  }

  @Test(arguments: both) func unixSocketsWithKeysNeedNone(_ program: ServerProgram) throws {
    let server = try Server(
      ServerConfiguration(program, .unix, tls: .required(.psk, nil), export: ""))
    let seen = try nbdSecure("info", "--unix", server.socketPath, "--tls-creds", pki.psk)
    #expect(seen.status == 0, "\(seen)")
  }

  @Test(arguments: versions) func keysMustMatch(_ program: ServerProgram, _ version: TLSVersion)
    throws
  {
    let server = try Server(ServerConfiguration(program, tls: .required(.psk, version)))
    let right = try nbdSecure(
      ["info", "--psk-file", pki.pskFile, "--psk-identity", "alice"] + server.address)
    #expect(right.status == 0, "\(right)")
    for options in [
      ["--tls-creds", pki.path("psk-wrong")],
      ["--tls-creds", pki.path("psk-several"), "--psk-identity", "bob"],
    ] {
      let seen = try nbdSecure(["info"] + options + server.address)
      #expect(seen.deviations(status: 77, saying: ["key"]) == [])
    }
    // A server of keys has no certificate to show: it closes without a word.
    let certificates = try nbdSecure(["info", "--tls-creds", pki.trustOnly] + server.address)
    #expect(certificates.deviations(status: 76, saying: ["closed"]) == [])
    // A server of certificates takes no key.
    let other = try Server(ServerConfiguration(program, tls: .required(.x509, version)))
    let keys = try nbdSecure(["info", "--tls-creds", pki.psk] + other.address)
    #expect(keys.deviations(status: 77) == [])
  }

  @Test(arguments: versions) func missingClientCertificateIsNamed(
    _ program: ServerProgram, _ version: TLSVersion
  ) throws {
    let server = try Server(
      ServerConfiguration(program, tls: .required(.x509WithClientCertificate, version)))
    let seen = try nbdSecure(["info", "--tls-creds", pki.trustOnly] + server.address)
    #expect(
      seen.deviations(status: 77, saying: ["client certificate"], hinting: "client-cert.pem") == [])
  }

  @Test(arguments: versions) func rejectedClientCertificateIsNamed(
    _ program: ServerProgram, _ version: TLSVersion
  ) throws {
    let wanted = ServerConfiguration(program, tls: .required(.x509WithClientCertificate, version))
    let server = try Server(wanted)
    // In order in itself, from an authority that only the client trusts.
    let seen = try nbdSecure(
      ["info", "--tls-creds", pki.path("clients/stranger")] + server.address)
    #expect(seen.deviations(status: 77, saying: ["certificate"]) == [])
  }

  @Test(arguments: both) func unknownExportsAreRefused(_ program: ServerProgram) throws {
    let server = try Server(ServerConfiguration(program, export: "disk-1"))
    let to = ["--tls-creds", pki.trustOnly, "--hostname", "localhost", "--port", "\(server.port)"]
    let seen = try nbdSecure(["info", "--export", "disk-2"] + to)
    #expect(seen.deviations(status: 69, saying: ["disk-2"]) == [])
  }

  @Test(arguments: both) func urisReachTheSame(_ program: ServerProgram) throws {
    let server = try Server(ServerConfiguration(program, export: "disk 1/ä"))
    let path = "disk%201/%C3%A4"
    let uri = "nbds://localhost:\(server.port)/\(path)?tls-certificates=\(pki.trustOnly)"
    let seen = try nbdSecure("info", "--json", uri)
    #expect(seen.status == 0, "\(seen)")
    #expect(
      try JSONDecoder().decode(Information.self, from: Data(seen.stdout.utf8)).export == "disk 1/ä")

    let keys = try Server(
      ServerConfiguration(program, .unix, tls: .required(.psk, nil), export: ""))
    let local = "nbds+unix://alice@/?socket=\(keys.socketPath)&tls-psk-file=\(pki.pskFile)"
    let found = try nbdSecure("info", "--json", local)
    #expect(found.status == 0, "\(found)")
  }
}
