// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import TLS
import TestSupport
import Testing

/// Handshakes that succeed or fail for other reasons than the server's certificate.
@Suite struct HandshakeTests {
  @Test(arguments: Version.allCases)
  func preSharedKey(_ version: Version) throws {
    let facts = try prove(pskServer(version), psk())
    #expect(facts.authentication == .psk(identity: "alice"))
    #expect(facts.version.rawValue == version.rawValue)
    // Plain defaults would end in CHACHA20, which is slow where the CPU has AES.
    #expect(facts.cipher == (TLSLibrary.hasAESInstructions ? .aes128GCM : .chacha20Poly1305))
    #expect(facts.identity == .none)
    #expect(!facts.group.isEmpty)
  }

  @Test(arguments: Version.allCases, [true, false])
  func wrongKey(_ version: Version, alerts: Bool) throws {
    var server = try pskServer(version)
    server.sendsAlerts = alerts
    try expectRejection(server, psk("psk-wrong/keys.psk"))
  }

  @Test(arguments: Version.allCases, [true, false])
  func unknownIdentity(_ version: Version, alerts: Bool) throws {
    var server = try pskServer(version)
    server.sendsAlerts = alerts
    try expectRejection(server, psk("psk-several/keys.psk", identity: "bob"))
  }

  private func expectRejection(_ server: TLSServerIdentity, _ credentials: Credentials) throws {
    let error = failure(TLSError.self) { try prove(server, credentials) }
    #expect(error?.kind == .peerRejectedOurKey, "\(String(describing: error))")
    #expect(error?.kind.category == .identity)
    #expect(error?.message.contains("pre-shared key") ?? false)
  }

  /// With certificate credentials beside the key this handshake would succeed, unverified.
  @Test(arguments: Version.allCases)
  func keyAgainstServerWithCertificate(_ version: Version) throws {
    let error = failure(TLSError.self) { try prove(server("good", version), psk()) }
    #expect(error?.kind.category == .identity, "\(String(describing: error))")
  }

  @Test(arguments: Version.allCases)
  func certificateAgainstServerWithKey(_ version: Version) throws {
    let error = failure(TLSError.self) { try prove(pskServer(version), x509()) }
    #expect(error?.kind.category == .identity, "\(String(describing: error))")
  }

  @Test(arguments: Version.allCases)
  func clientCertificate(_ version: Version) throws {
    for directory in ["client", "clients/intermediate"] {
      let facts = try prove(server("good", version, clientCA: pki("ca.pem")), x509(directory))
      #expect(facts.clientCertificateRequested && facts.clientCertificateSent)
      // The one that was sent, not another of the chain.
      let loaded = try X509Credentials.load(directory: pki(directory))
      let file = loaded.files.first { $0.role == .clientCertificate }
      #expect(facts.clientCertificate == file?.certificates.first)
    }
    let encrypted = try x509("clients/encrypted", passwordFile: pki("clients/encrypted/password"))
    let facts = try prove(server("good", version, clientCA: pki("ca.pem")), encrypted)
    #expect(facts.clientCertificateSent)
  }

  @Test(arguments: Version.allCases, [true, false])
  func clientCertificateMissing(_ version: Version, alerts: Bool) throws {
    var server = try server("good", version, clientCA: pki("ca.pem"))
    server.sendsAlerts = alerts
    let error = failure(TLSError.self) { try prove(server, x509()) }
    #expect(error?.kind == .clientCertificateRequired, "\(String(describing: error))")
    #expect(error?.hint?.contains("client-cert.pem") ?? false)
  }

  /// In TLS 1.3 the client's handshake succeeds and the rejection shows at the first read.
  @Test(arguments: Version.allCases, [true, false])
  func clientCertificateRejected(_ version: Version, alerts: Bool) throws {
    var server = try server("good", version, clientCA: pki("ca.pem"))
    server.sendsAlerts = alerts
    let error = failure(TLSError.self) { try prove(server, x509("clients/stranger")) }
    #expect(error?.kind == .peerRejectedOurCertificate, "\(String(describing: error))")
    #expect(error?.message.contains("rejected our client certificate") ?? false)
  }

  /// The rejection of a client that writes first, and so finds the connection reset.
  @Test(arguments: [true, false])
  func clientCertificateRejectedAtWrite(alerts: Bool) throws {
    var identity = try server("good", .v13, clientCA: pki("ca.pem"))
    identity.sendsAlerts = alerts
    let listening = try FakeServer { [identity] in
      try $0.startTLS(identity)
    }
    defer { listening.stop() }
    let session = try TLSSession.connected(to: listening, x509("clients/stranger"))
    let error = failure(TLSError.self) {
      try session.handshake(deadline: soon)
      // That the connection was reset shows when the answer to a write has come.
      let end = soon
      while !end.hasPassed {
        try session.writeAll(greeting, deadline: end)
        _ = try listening.finished()
        sleep(seconds: 0.01)
      }
    }
    #expect(error?.kind == .peerRejectedOurCertificate, "\(String(describing: error))")
  }

  @Test(arguments: [
    "NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0", "NORMAL:-KX-ALL:+RSA:-VERS-TLS1.3",
    "NORMAL:-CIPHER-ALL:+AES-128-CBC:-VERS-TLS1.3",
  ])
  func nothingInCommon(_ priority: String) throws {
    var server = try server()
    server.priority = priority
    let error = failure(TLSError.self) { try prove(server, x509()) }
    #expect(error?.kind == .noCommonParameters, "\(String(describing: error))")
  }

  @Test func minimumVersion() throws {
    let requirements = TLSRequirements(minimumVersion: .v13)
    let error = failure(TLSError.self) {
      try prove(server("good", .v12), x509(), as: "localhost", requirements)
    }
    #expect(error?.kind == .noCommonParameters, "\(String(describing: error))")
    #expect(try prove(server(), x509(), as: "localhost", requirements).version == .v13)
  }

  @Test(arguments: TLSCipher.allCases, Version.allCases)
  func allowedCipher(_ cipher: TLSCipher, _ version: Version) throws {
    let requirements = TLSRequirements(allowedCiphers: [cipher])
    let facts = try prove(server("good", version), x509(), as: "localhost", requirements)
    #expect(facts.cipher == cipher)
  }

  @Test(arguments: [TLSGroup.x25519, .secp384r1, .ffdhe2048], Version.allCases)
  func allowedGroup(_ group: TLSGroup, _ version: Version) throws {
    // An elliptic group as it is used for a key would do too: RSA leaves the choice free.
    let requirements = TLSRequirements(allowedGroups: [group])
    let facts = try prove(server("rsa", version), x509(), as: "localhost", requirements)
    #expect(facts.group == group.rawValue)
  }

  @Test func silence() throws {
    let listening = try FakeServer { _ in }
    defer { listening.stop() }
    for credentials in [try x509(), try psk()] {
      let session = try TLSSession.connected(to: listening, credentials)
      let begin = monotonicNanoseconds()
      let error = failure(TLSError.self) { try session.handshake(deadline: .after(seconds: 0.3)) }
      let took = Double(monotonicNanoseconds() - begin) / 1e9
      #expect(error?.kind == .deadline)
      #expect(error?.kind.category == .deadline)
      #expect((0.25..<60).contains(took))
    }
  }

  /// One byte a second is too slow for any deadline.
  @Test func trickle() throws {
    let listening = try FakeServer { connection in
      for byte: UInt8 in [22, 3, 3, 0, 122] + [UInt8](repeating: 2, count: 40) {
        try connection.sendRaw([byte])
        connection.pause(0.05)
      }
    }
    defer { listening.stop() }
    let session = try TLSSession.connected(to: listening, x509())
    let error = failure(TLSError.self) { try session.handshake(deadline: .after(seconds: 0.4)) }
    #expect(error?.kind == .deadline)
  }

  @Test(arguments: [
    Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8), Array("NBDMAGICIHAVEOPT".utf8),
    // A handshake message of an unknown type, a server hello that is too short, one that is none,
    // data before any hello, a record that is too long.
    [22, 3, 3, 0, 5, 99, 0, 0, 1, 7], [22, 3, 3, 0, 5, 2, 0, 0, 1, 7],
    [22, 3, 3, 0, 44, 2, 0, 0, 40, 3, 3] + [UInt8](repeating: 255, count: 38),
    [23, 3, 3, 0, 5, 1, 2, 3, 4, 5], [22, 3, 3, 0xff, 0xff, 0],
  ])
  func garbage(_ bytes: [UInt8]) throws {
    let listening = try FakeServer { connection in
      _ = try connection.receiveSomething()
      try connection.sendRaw(bytes)
    }
    defer { listening.stop() }
    let session = try TLSSession.connected(to: listening, x509())
    let error = failure(TLSError.self) { try session.handshake(deadline: soon) }
    #expect(error?.kind == .protocolViolation, "\(String(describing: error))")
    #expect(error?.kind.category == .protocolViolation)
  }

  /// The server's first flight, cut at any byte.
  @Test(arguments: Version.allCases)
  func cut(_ version: Version) throws {
    let identity = try server("good", version)
    for length in [0, 1, 4, 5, 6, 50, 120, 130, 300, 600] {
      let listening = try FakeServer { connection in
        let limit = Limit(length)
        connection.tamper = { limit.take($0) }
        do { try connection.startTLS(identity) } catch {}
        connection.abort()
      }
      defer { listening.stop() }
      let session = try TLSSession.connected(to: listening, x509())
      // The cut server still waits for the client, so it is the client that has to give up, unless
      // the stream ends.
      let error = failure(TLSError.self) { try session.handshake(deadline: .after(seconds: 0.3)) }
      #expect(error?.kind == .deadline, "\(length): \(String(describing: error))")
      session.shutdownSocket()
    }
  }

  @Test(arguments: Version.allCases)
  func endInHandshake(_ version: Version) throws {
    for sent in [0, 3, 40] {
      let listening = try FakeServer { connection in
        _ = try connection.receiveSomething()
        try connection.sendRaw(Array([22, 3, 3, 0, 122, 2].prefix(sent)))
        connection.abort()
      }
      defer { listening.stop() }
      let session = try TLSSession.connected(to: listening, x509())
      let error = failure(TLSError.self) { try session.handshake(deadline: soon) }
      #expect(error?.kind == .closedInHandshake, "\(String(describing: error))")
      #expect(error?.kind.category == .protocolViolation)
    }
  }
}

extension FakeConnection {
  /// Waits for the first byte of a client's hello.
  func receiveSomething() throws(Failure) { _ = try receive(1) }
}

/// Lets so many bytes through.
final class Limit {
  private var left: Int
  init(_ left: Int) { self.left = left }
  func take(_ bytes: [UInt8]) -> [UInt8] {
    defer { left -= min(left, bytes.count) }
    return Array(bytes.prefix(left))
  }
}
