// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import TestSupport
import Testing

@testable import NBDSecure

private typealias Wire = TestSupport.Wire

/// What connections after the first must keep to: the same server, and what was made of the export.
@Suite struct LaterConnectionTests {
  private let pki: PKI
  private let directory: TemporaryDirectory

  init() throws {
    pki = try PKI.shared.get()
    directory = try TemporaryDirectory()
  }

  /// A server of an export, with the identity that `choose` gives for each connection.
  private func serve(
    _ choose: @escaping @Sendable (Int) -> TLSServerIdentity
  ) throws -> FakeServer {
    try FakeServer(.ipv4) { connection in
      try connection.greet()
      try connection.acceptTLS(choose(connection.index))
      try connection.expect(Wire.Option.go)
      try connection.send(
        Wire.reply(
          to: Wire.Option.go, Wire.Reply.info,
          Wire.exportInfo(size: 1 << 20, flags: 1 | 1 << 8))
          + Wire.reply(to: Wire.Option.go, Wire.Reply.ack))
    }
  }

  private func connector(
    to server: FakeServer, policy: String = "default = 'allow'",
    _ change: (inout ConnectionOptions) -> Void = { _ in }
  ) throws -> Connector {
    var options = ConnectionOptions()
    options.hostname = "localhost"
    options.address = "127.0.0.1"
    options.port = server.port
    options.tlsCredentials = pki.trustOnly
    options.policyFiles = [try write(policy: policy)]
    options.connectTimeout = 60
    change(&options)
    return Connector(request: try ConnectionRequest(options))
  }

  @discardableResult
  private func write(policy: String) throws -> String {
    try directory.write("policy.toml", policy, mode: 0o644)
  }

  private func refusal(_ body: () throws(NBDSecureError) -> Void) -> NBDSecureError? {
    do throws(NBDSecureError) {
      try body()
      return nil
    } catch { return error }
  }

  private func identity(_ name: String) -> TLSServerIdentity {
    .x509(
      certificate: pki.path("servers/\(name)/server-cert.pem"),
      key: pki.path("servers/\(name)/server-key.pem"))
  }

  @Test(arguments: [true, false])
  func severalConnectionsHaveOneKey(sameKey: Bool) throws {
    let (good, other) = (identity("good"), identity("rsa"))
    let server = try serve { $0 == 0 ? good : other }
    defer { server.stop() }
    let connector = try connector(to: server, policy: "[require]\nsame-key = \(sameKey)\n")
    let error = refusal { () throws(NBDSecureError) in
      _ = try openConnections(connector, goal: .attach(ExportName.defaultExport), count: 2)
    }
    #expect(error?.code == (sameKey ? .identity : nil), "\(String(describing: error))")
    #expect(error?.summary.contains("same-key") ?? !sameKey)
  }

  /// Policy that requires lists requires them of every authority on the way.
  @Test(arguments: [
    ("clients/crl", NBDSecureError.Code?.some(.forbidden)), ("clients/crl-intermediate", nil),
    ("clients/crl-intermediate-revoked", .identity),
  ])
  func listsOfIntermediates(_ client: String, _ code: NBDSecureError.Code?) throws {
    let intermediate = identity("intermediate")
    let server = try serve { _ in intermediate }
    defer { server.stop() }
    let connector = try connector(to: server, policy: "[require]\ncrl = true\n") {
      $0.tlsCredentials = pki.path(client)
    }
    let error = refusal { () throws(NBDSecureError) in
      _ = try connector.open(.attach(.defaultExport))
    }
    #expect(error?.code == code, "\(String(describing: error))")
    if code == .forbidden { #expect(error?.summary.contains("CN=localhost") ?? false) }
  }

  @Test func laterConnectionsHaveTheFirstIdentity() throws {
    let keys = try String(contentsOfFile: pki.pskFile, encoding: .utf8)
    let file = try directory.write("keys.psk", keys, mode: 0o600)
    let server = try serve { _ in .psk(file: file) }
    defer { server.stop() }
    var connector = try connector(to: server) {
      $0.tlsCredentials = nil
      $0.pskFile = file
    }
    let first = try connector.open(.attach(.defaultExport))
    #expect(first.facts?.pskIdentity == "alice")
    connector.use.bind(to: first)
    // The same key under another name, on both sides.
    try directory.write(
      "keys.psk", keys.replacingOccurrences(of: "alice:", with: "mallory:"), mode: 0o600)
    let error = refusal { () throws(NBDSecureError) in
      _ = try connector.open(.attach(.defaultExport))
    }
    #expect(error?.code == .credentials)
    #expect(error?.summary.contains("alice") ?? false, "\(String(describing: error))")
  }

  /// A policy that has changed since is held against what there is already.
  @Test(arguments: [
    ("read-only = true", true, PolicyDataPath.relay, true),
    ("read-only = true", false, .relay, false),
    ("data-paths = ['ktls']", true, .relay, true),
    ("data-paths = ['relay']", true, .ktls, true),
    ("data-paths = ['ktls']", true, .ktls, false),
  ])
  func policyThatChanged(
    _ demand: String, writable: Bool, path: PolicyDataPath, refused: Bool
  ) throws {
    let good = identity("good")
    let server = try serve { _ in good }
    defer { server.stop() }
    var connector = try connector(to: server)
    connector.use.dataPaths = [.relay, .ktls]
    let first = try connector.open(.attach(.defaultExport))
    connector.use.bind(to: first)
    connector.use.settle(writable: writable, dataPath: path)
    try write(policy: "[require]\n\(demand)\n")
    let error = refusal { () throws(NBDSecureError) in
      _ = try connector.open(.attach(.defaultExport))
    }
    #expect((error?.code == .forbidden) == refused, "\(String(describing: error))")
  }

  @Test func oneTimeLimitForAll() throws {
    let good = identity("good")
    let server = try FakeServer(.ipv4) { connection in
      connection.pause(0.8)
      try connection.greet()
      try connection.acceptTLS(good)
      try connection.expect(Wire.Option.go)
      try connection.send(
        Wire.reply(
          to: Wire.Option.go, Wire.Reply.info,
          Wire.exportInfo(size: 1 << 20, flags: 1 | 1 << 8))
          + Wire.reply(to: Wire.Option.go, Wire.Reply.ack))
    }
    defer { server.stop() }
    let connector = try connector(to: server) { $0.connectTimeout = 3 }
    let error = refusal { () throws(NBDSecureError) in
      _ = try openConnections(connector, goal: .attach(ExportName.defaultExport), count: 16)
    }
    #expect(error?.code == .timedOut, "\(String(describing: error))")
  }
}
