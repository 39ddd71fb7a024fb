// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import NBDSecure

@Suite("Attachments: files")
struct NamedAttachmentTests {
  private func parse(_ text: String) throws -> AttachRequest {
    let name = try #require(AttachmentName("data"))
    return try NamedAttachment(name, file: "/etc/x/data.toml", text: text).request
  }

  @Test func everyKeyIsTaken() throws {
    let request = try parse(
      """
      hostname = "storage"
      port = 10810
      address = "192.0.2.1"
      export = "disk"
      tls-creds = "/tmp"
      tls-hostname = "other"
      tls-min-version = "1.3"
      tls-priority = "NORMAL"
      tls-pin = "sha256:\(String(repeating: "0", count: 64))"
      tls-key-password-file = "/etc/password"
      policy = ["/etc/policy.toml"]
      connect-timeout = 7
      allow-plaintext = true
      device = "/dev/nbd7"
      read-only = true
      connections = 3
      data-path = "relay"
      binding = "netlink"
      block-size = 4096
      reconnect-timeout = 0
      io-timeout = 9
      flush-window = 0
      """)
    #expect(
      request.connection.endpoint.transport
        == .tcp(host: "storage", port: 10810, address: "192.0.2.1"))
    #expect(request.connection.endpoint.export == "disk")
    #expect(
      request.connection.credentials
        == .x509(directory: "/tmp", keyPasswordFile: "/etc/password"))
    #expect(request.connection.nameToVerify == "other")
    #expect(request.connection.minimumVersion == "1.3")
    #expect(request.connection.priority == "NORMAL")
    #expect(request.connection.pins.map(\.hex) == [String(repeating: "0", count: 64)])
    #expect(request.connection.policyFiles == ["/etc/policy.toml"])
    #expect(request.connection.connectTimeout == 7)
    #expect(request.name?.description == "data")
    #expect(request.device == "/dev/nbd7")
    #expect(request.readOnly)
    #expect(request.connections == 3)
    #expect(request.dataPath == .relay)
    #expect(request.binding == .netlink)
    #expect(request.blockSize == 4096)
    #expect(request.reconnectTimeout == 0)
    #expect(request.ioTimeout == 9)
    #expect(request.flushWindow == 0)
  }

  @Test func defaultsAreThoseOfTheOptions() throws {
    let request = try parse("unix = '/run/nbd.sock'\npsk-file = '/k'\npsk-identity = 'me'")
    var plain = AttachRequest(request.connection)
    plain.name = request.name
    #expect(request == plain)
    #expect(request.connection.credentials == .psk(file: "/k", identity: "me"))
  }

  @Test func urisAndSockets() throws {
    #expect(
      try parse("uri = 'nbds://h/e'\ntls-creds = '/tmp'").connection.endpoint.description
        == "h:10809, export \"e\"")
    #expect(
      try parse("vsock = '2:7'\npsk-file = '/k'").connection.endpoint.transport
        == .vsock(cid: 2, port: 7))
  }

  @Test(arguments: [
    "data", "a", "0", "nbd0", "A.b-c_d", String(repeating: "n", count: 64),
  ]) func names(_ text: String) {
    #expect(AttachmentName(text)?.description == text)
  }

  @Test(arguments: [
    "", ".", "..", ".hidden", "-x", "_x", "a b", "a/b", "a\nb", "a@b", "a%b", "ä", "a\0",
    String(repeating: "n", count: 65),
  ]) func noNames(_ text: String) {
    #expect(AttachmentName(text) == nil)
  }

  @Test(
    arguments: try FileManager.default.contentsOfDirectory(
      atPath: repository + "/examples/attachments"
    ).sorted())
  func examplesAreRight(_ file: String) throws {
    let path = "\(repository)/examples/attachments/\(file)"
    var text = try String(contentsOfFile: path, encoding: .utf8)
    // The directory of credentials must exist to be told from one of keys.
    text = text.replacing("/etc/nbd-secure/pki", with: "/tmp")
    let name = try #require(AttachmentName(String(file.dropLast(5))))
    _ = try NamedAttachment(name, file: path, text: text)
    #expect(text.contains("/etc/nbd-secure/attachments/\(file)"))
  }
}
