// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import TLS
import TestSupport

/// The versions, as a server offers them.
enum Version: String, CaseIterable, Sendable, CustomStringConvertible {
  case v12 = "1.2"
  case v13 = "1.3"

  var priority: String { "NORMAL:-VERS-ALL:+VERS-TLS\(rawValue)" }
  var pskPriority: String { priority + ":-KX-ALL:+ECDHE-PSK:+DHE-PSK" }
  var description: String { "TLS \(rawValue)" }
}

let greeting = Array("NBDMAGIC".utf8)

/// A path in the shared set of certificates.
func pki(_ name: String) throws -> String { try PKI.shared.get().path(name) }

/// A server's identity out of `servers/CASE`.
func server(
  _ name: String = "good", _ version: Version = .v13, clientCA: String? = nil
) throws -> TLSServerIdentity {
  try .x509(
    certificate: pki("servers/\(name)/server-cert.pem"),
    key: pki("servers/\(name)/server-key.pem"), clientCA: clientCA,
    // Weak certificates have to be sent at all before they can be refused.
    priority: version.priority + ":+SIGN-RSA-SHA1:%PROFILE_VERY_WEAK")
}

func pskServer(_ version: Version = .v13, file: String = "psk/keys.psk") throws
  -> TLSServerIdentity
{ try .psk(file: pki(file), priority: version.pskPriority) }

/// The certificates of a client out of a directory.
func x509(_ directory: String = "trust", passwordFile: String? = nil) throws -> Credentials {
  .x509(try .load(directory: pki(directory), keyPasswordFile: passwordFile))
}

func psk(_ file: String = "psk/keys.psk", identity: String? = nil) throws -> Credentials {
  .psk(try .load(file: pki(file), identity: identity))
}

/// A soon deadline: nothing in these tests takes longer than a blink, unless it is stuck.
var soon: Deadline { .after(seconds: 60) }

extension TLSSession {
  /// A session over a new connection to the server, its handshake still to come.
  static func connected(
    to server: FakeServer, _ credentials: Credentials, as name: String = "localhost",
    _ requirements: TLSRequirements = TLSRequirements()
  ) throws -> TLSSession {
    let socket = try connectStream(
      to: .ipv4(address: [127, 0, 0, 1], port: UInt16(server.port)), deadline: soon)
    let identity = credentials.kind == .psk ? ServerIdentity.none : try ServerIdentity(name)
    return try TLSSession(
      socket: socket, credentials: credentials, identity: identity, requirements: requirements)
  }
}

/// Handshake and greeting against a server that greets after its handshake: what was proved.
@discardableResult
func prove(
  _ server: TLSServerIdentity, _ credentials: Credentials, as name: String = "localhost",
  _ requirements: TLSRequirements = TLSRequirements()
) throws -> SessionFacts {
  let listening = try FakeServer { connection in
    try connection.startTLS(server)
    try connection.send(greeting)
  }
  defer { listening.stop() }
  let session = try TLSSession.connected(to: listening, credentials, as: name, requirements)
  try session.handshake(deadline: soon)
  guard try session.readExactly(greeting.count, deadline: soon) == greeting,
    let facts = session.facts
  else { throw SystemError("greeting", because: "it is not what was sent") }
  session.close(deadline: soon)
  return facts
}

/// The port that `openssl s_server -accept 127.0.0.1:0` says it listens on.
func acceptedPort(of process: ChildProcess) throws -> Int {
  var port: Int?
  _ = eventually(within: 20) {
    port = process.log.firstMatch(of: /ACCEPT 127\.0\.0\.1:([0-9]+)\n/).flatMap { Int($0.1) }
    return port != nil || !process.isRunning
  }
  guard let port else { throw SystemError("openssl s_server", because: process.log) }
  return port
}

/// The error that a body ends with.
func failure<E: Error>(_ type: E.Type, _ body: () throws -> Void) -> E? {
  do {
    try body()
    return nil
  } catch {
    return error as? E
  }
}
