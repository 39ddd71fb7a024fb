// SPDX-License-Identifier: Apache-2.0
import Synchronization
import TLS
import TestSupport
import Testing

/// What we tell a server of its name before anything is encrypted: names, and no addresses
/// (RFC 6066, 3).
@Suite struct ServerNameTests {
  @Test(
    arguments: [
      ("localhost", "localhost"), ("server.example", "server.example"),
      ("localhost.", "localhost"), ("127.0.0.1", nil), ("::1", nil), ("[::1]", nil),
    ] as [(String, String?)], Version.allCases)
  func namesAreSentAndAddressesAreNot(_ name: (String, String?), _ version: Version) throws {
    let seen = Mutex<[String?]>([])
    let identity = try server("good", version)
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      seen.withLock { $0.append(connection.session?.serverName) }
      try connection.send(greeting)
    }
    defer { listening.stop() }
    let session = try TLSSession.connected(to: listening, x509(), as: name.0)
    try session.handshake(deadline: soon)
    #expect(try session.readExactly(greeting.count, deadline: soon) == greeting)
    #expect(seen.withLock { $0 } == [name.1])
  }
}
