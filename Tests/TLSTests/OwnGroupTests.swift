// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import TestSupport
import Testing

@testable import TLS

/// TLS 1.2 lets a server bring a Diffie-Hellman group of its own, as OpenSSL's does whatever groups
/// a client names. Its size decides, unless groups are named: then it is none of them.
@Suite struct OwnGroupTests {
  enum Kind: CaseIterable, Sendable { case certificate, key }

  /// Of RFC 3526, and so none of RFC 7919's.
  @Test(arguments: ["modp_2048", "modp_3072"], Kind.allCases)
  func properOnesWork(_ group: String, _ kind: Kind) throws {
    let facts = try prove(kind, TLSRequirements()) { try generated(group, in: $0) }
    #expect(facts.version == .v12)
    #expect(facts.keyExchange.hasPrefix("DHE"))
    // It has no name.
    #expect(facts.group.isEmpty)
  }

  @Test(arguments: [1024, 1536, 2047], Kind.allCases)
  func smallOnesAreRefused(_ bits: Int, _ kind: Kind) throws {
    let error = failure(TLSError.self) {
      try prove(kind, TLSRequirements()) { try odd(bits, in: $0) }
    }
    #expect(error?.kind == .noCommonParameters, "\(String(describing: error))")
    #expect(error?.message.contains("Diffie-Hellman prime") ?? false)
    #expect(error?.hint?.contains("2048 bits") ?? false)
  }

  /// A list of groups is not gone round by one without a name, however large.
  @Test(arguments: [[TLSGroup.ffdhe2048], [.ffdhe3072, .secp256r1], [.x25519]], Kind.allCases)
  func noneIsAmongNamedOnes(_ groups: [TLSGroup], _ kind: Kind) throws {
    let error = failure(TLSError.self) {
      try prove(kind, TLSRequirements(allowedGroups: groups)) {
        try generated("modp_3072", in: $0)
      }
    }
    #expect(error?.kind == .noCommonParameters, "\(String(describing: error))")
  }

  /// The same server with a group of RFC 7919: what is refused above is the group.
  @Test(arguments: Kind.allCases) func knownOnesAreNamed(_ kind: Kind) throws {
    let requirements = TLSRequirements(allowedGroups: [.ffdhe2048])
    let facts = try prove(kind, requirements) { try generated("ffdhe2048", in: $0) }
    #expect(facts.keyExchange.hasPrefix("DHE"))
    #expect(facts.group == "FFDHE2048")
  }

  /// A handshake with OpenSSL's server, and a line through the session.
  @discardableResult
  private func prove(
    _ kind: Kind, _ requirements: TLSRequirements,
    _ parameters: (TemporaryDirectory) throws -> String
  ) throws -> SessionFacts {
    let directory = try TemporaryDirectory()
    // What it shows and uses is the test's choice, not that of its own defaults.
    var arguments = [
      "s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-rev", "-dhparam",
      try parameters(directory), "-cipher", "kDHE:kDHEPSK:@SECLEVEL=0",
    ]
    switch kind {
    case .certificate:
      arguments += [
        "-cert", try pki("servers/rsa/server-cert.pem"),
        "-key", try pki("servers/rsa/server-key.pem"),
      ]
    case .key:
      let line = try String(contentsOfFile: pki("psk/keys.psk"), encoding: .utf8)
      let key = try #require(line.split(separator: ":").last).filter(\.isHexDigit)
      arguments += ["-nocert", "-psk_identity", "alice", "-psk", key]
    }
    let process = try ChildProcess("openssl", arguments, log: directory.file("log"))
    defer { process.stop() }
    let port = try acceptedPort(of: process)
    let session = try TLSSession(
      socket: connectStream(
        to: .ipv4(address: [127, 0, 0, 1], port: UInt16(port)), deadline: soon),
      credentials: kind == .key ? psk() : x509(),
      identity: kind == .key ? .none : ServerIdentity("localhost"), requirements: requirements)
    try session.handshake(deadline: soon)
    try session.writeAll(Array("abc\n".utf8), deadline: soon)
    #expect(try session.readExactly(4, deadline: soon) == Array("cba\n".utf8))
    return try #require(session.facts)
  }

  /// A group that OpenSSL knows, as a file.
  private func generated(_ name: String, in directory: TemporaryDirectory) throws -> String {
    let file = directory.file("group.pem")
    let made = try run(
      "openssl",
      ["genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:\(name)", "-out", file])
    guard made.status == 0 else { throw SystemError("openssl genpkey", because: "\(made)") }
    return file
  }

  /// A group of so many bits. Nobody looks whether its modulus is a prime; to find one takes long.
  private func odd(_ bits: Int, in directory: TemporaryDirectory) throws -> String {
    var modulus = [UInt8](repeating: 0xa5, count: (bits + 7) / 8)
    modulus[0] = UInt8(1) << UInt8((bits - 1) % 8)
    func tagged(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
      [tag, 0x82, UInt8(content.count >> 8), UInt8(content.count & 0xff)] + content
    }
    let sign: [UInt8] = modulus[0] < 0x80 ? [] : [0]
    let parameters = tagged(0x30, tagged(0x02, sign + modulus) + [0x02, 1, 2])
    let text = Data(parameters).base64EncodedString(options: .lineLength64Characters)
    return try directory.write(
      "group.pem", "-----BEGIN DH PARAMETERS-----\n\(text)\n-----END DH PARAMETERS-----\n")
  }
}
