// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import TestSupport
import Testing

@testable import TLS

/// What real servers do where the library's own server is politer.
@Suite struct RealServerTests {
  static let priorities = [
    "NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3",
  ]

  /// A session of which the options phase is done up to STARTTLS.
  private func session(
    _ server: Server, _ credentials: Credentials, _ priority: String
  ) throws -> TLSSession {
    let socket = try connectStream(
      to: .ipv4(address: [127, 0, 0, 1], port: UInt16(server.port)), deadline: soon)
    _ = try readPlain(socket.raw, 18)
    try writeAll(
      socket.raw,
      Wire.be(UInt32(3)) + Wire.be(Wire.optionMagic) + Wire.be(UInt32(5))
        + Wire.be(UInt32(0)))
    _ = try readPlain(socket.raw, 20)
    let psk = credentials.kind == .psk
    return try TLSSession(
      socket: socket, credentials: credentials,
      identity: psk ? .none : ServerIdentity("localhost"),
      requirements: TLSRequirements(priority: priority + (psk ? ":+DHE-PSK:+ECDHE-PSK" : "")))
  }

  private func readPlain(_ socket: Int32, _ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var got = 0
    while got < count {
      let outcome = bytes.withUnsafeMutableBytes {
        readSome(socket, into: UnsafeMutableRawBufferPointer(rebasing: $0[got...]))
      }
      switch outcome {
      case .bytes(let more): got += more
      case .wouldBlock: try wait(socket, for: .read, until: soon)
      case .closed: throw SystemError("greeting", because: "closed")
      case .failed(let error): throw error
      }
    }
    return bytes
  }

  /// NBD_OPT_LIST and the first byte of its reply.
  private func list(_ session: TLSSession) throws {
    try session.handshake(deadline: soon)
    try session.writeAll(
      Wire.be(Wire.optionMagic) + Wire.be(Wire.Option.list) + Wire.be(UInt32(0)), deadline: soon)
    let reply = try session.readExactly(8, deadline: soon)
    #expect(reply == Wire.be(Wire.optionReplyMagic))
  }

  @Test(arguments: [ServerProgram.nbdkit, .qemuNBD], priorities)
  func clientCertificate(_ program: ServerProgram, _ priority: String) throws {
    let server = try Server(
      ServerConfiguration(program, tls: .required(.x509WithClientCertificate, nil)))
    try list(session(server, x509("client"), priority))
    let missing = failure(TLSError.self) { try list(session(server, x509(), priority)) }
    #expect(missing?.kind == .clientCertificateRequired, "\(String(describing: missing))")
    let rejected = failure(TLSError.self) {
      try list(session(server, x509("clients/stranger"), priority))
    }
    #expect(rejected?.kind == .peerRejectedOurCertificate, "\(String(describing: rejected))")
  }

  @Test(arguments: [ServerProgram.nbdkit, .qemuNBD], priorities)
  func preSharedKey(_ program: ServerProgram, _ priority: String) throws {
    let server = try Server(ServerConfiguration(program, tls: .required(.psk, nil)))
    let good = try session(server, psk(), priority)
    try list(good)
    #expect(good.facts?.cipher == TLSCipher.byPreference.first)
    for credentials in [
      try psk("psk-wrong/keys.psk"), try psk("psk-several/keys.psk", identity: "bob"),
    ] {
      let error = failure(TLSError.self) { try list(session(server, credentials, priority)) }
      #expect(error?.kind == .peerRejectedOurKey, "\(String(describing: error))")
    }
  }

  @Test(arguments: ["-tls1_2", "-tls1_3"], ["client", "trust", "clients/stranger"])
  func openSSL(_ version: String, _ client: String) throws {
    let directory = try TemporaryDirectory()
    let process = try ChildProcess(
      "/usr/bin/openssl",
      [
        "s_server", "-accept", "127.0.0.1:0", version, "-Verify", "2",
        "-verify_return_error", "-CAfile", pki("ca.pem"),
        "-cert", pki("server/server-cert.pem"), "-key", pki("server/server-key.pem"), "-rev",
      ], log: directory.file("log"))
    defer { process.stop() }
    let port = try acceptedPort(of: process)
    let socket = try connectStream(
      to: .ipv4(address: [127, 0, 0, 1], port: UInt16(port)), deadline: soon)
    let session = try TLSSession(
      socket: socket, credentials: x509(client), identity: ServerIdentity("localhost"),
      requirements: TLSRequirements())
    let error = failure(TLSError.self) {
      try session.handshake(deadline: soon)
      try session.writeAll(Array("abc\n".utf8), deadline: soon)
      #expect(try session.readExactly(4, deadline: soon) == Array("cba\n".utf8))
    }
    let kinds: [String: TLSError.Kind] = [
      "trust": .clientCertificateRequired, "clients/stranger": .peerRejectedOurCertificate,
    ]
    #expect(error?.kind == kinds[client], "\(String(describing: error))")
  }
}
