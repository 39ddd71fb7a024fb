// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// What the commands make of a server that lies in the transmission phase. `info`, `list` and `check`
/// never get there; `attach` is the relay of `proxy`.
@Suite struct TransmissionFaults {
  /// What comes of a fault: the status of each command, and the words that its line says.
  enum Ending: Sendable {
    /// A copy ends with this status; a proxy without reconnection always with 74.
    case lost(copy: Int32, [String], proxy: [String])
    /// The same, after an answer that was right.
    case lostAfterwards(copy: Int32, [String])
    /// The server's error is handed on: a copy ends with 74, a proxy serves on.
    case failed([String])
    /// The data is right.
    case read
  }

  private static func broken(_ word: String) -> Ending {
    .lost(copy: 76, [word], proxy: [word])
  }

  private static func ended(_ word: String) -> Ending {
    .lost(copy: 74, ["connection lost", word], proxy: [word])
  }

  private static let endings: [String: Ending] = [
    "a reply to nothing in flight": broken("not in flight"),
    "a reply to a slot's earlier use": broken("not in flight"),
    "a reply twice": .lostAfterwards(copy: 76, ["not in flight"]),
    "a wrong magic": broken("magic"),
    "a request in place of a reply": broken("magic"),
    "an option reply in place of a reply": broken("magic"),
    "a structured reply": .lost(
      copy: 76, ["structured reply", "not negotiated"], proxy: ["magic"]),
    "an error outside the list": .failed(["EINVAL"]),
    "the largest error there is": .failed(["EINVAL"]),
    "shutting down": ended("shutting down"),
    "truncated in place of a reply": ended("without a TLS close_notify"),
    "truncated within the header": ended("without a TLS close_notify"),
    "truncated within the data": ended("without a TLS close_notify"),
    "close_notify in place of a reply": ended("ended"),
    "plaintext in place of a record": broken("record"),
    "a record with a bit flipped": broken("record"),
    "a record repeated": broken("record"),
    "a record left out": broken("record"),
    "two records exchanged": broken("record"),
    "a renegotiation request": broken("renegotiation"),
    "silence": ended("no reply within 8 s"),
    "a byte of the header, then silence": ended("no reply within 8 s"),
    "tickets in mid-stream": .read,
    "a key update that asks for one, in mid-stream": .read,
    "a byte in each record": .read,
  ]

  @Test func noFaultIsLeftOut() {
    #expect(Self.endings.keys.sorted() == TransmissionFault.all.map(\.name).sorted())
  }

  private func endpoint(_ server: FakeServer, _ fault: TransmissionFault) throws -> [String] {
    [
      "--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(server.port)",
      "--tls-creds", try PKI.shared.get().trustOnly, "--io-timeout", fault.isSilent ? "8" : "600",
    ]
  }

  @Test(arguments: TransmissionFault.all) func copyTells(_ fault: TransmissionFault) throws {
    let server = try FakeServer(.ipv4) { try fault.play($0, exportSize: 4096) }
    let directory = try TemporaryDirectory()
    let out = directory.file("out")
    let seen = try nbdSecure(["copy", "--to", out] + endpoint(server, fault))
    let words = ["localhost:\(server.port)"]
    let ending = try #require(Self.endings[fault.name])
    switch ending {
    // A copy that has all it wanted may have left by then.
    case .lostAfterwards where seen.status == 0, .read:
      #expect(seen.status == 0, "\(seen)")
      #expect(FileManager.default.contents(atPath: out) == Data(TransmissionFault.data))
      return
    case .lost(let status, let said, _), .lostAfterwards(let status, let said):
      #expect(seen.deviations(status: status, saying: words + said, within: 30) == [])
    case .failed(let said):
      #expect(seen.deviations(status: 74, saying: ["reading"] + said, within: 30) == [])
    }
    // Nothing that was not checked looks like a copy.
    #expect(access(out, F_OK) != 0)
    try expectSilence(server)
  }

  @Test(arguments: TransmissionFault.all) func proxyTells(_ fault: TransmissionFault) throws {
    let server = try FakeServer(.ipv4) { try fault.play($0) }
    let proxy = try ProxyProcess(["--reconnect-timeout", "0"] + endpoint(server, fault))
    let seen = try run(
      "qemu-io",
      ["-r", "-f", "raw", "-c", "read -P 0x5a 0 4096", proxy.uri])
    #expect(!seen.stdout.contains("Pattern verification failed"), "\(seen)")
    #expect(seen.seconds < 30 * patience)
    let ending = try #require(Self.endings[fault.name])
    switch ending {
    case .lost(_, _, let said), .lostAfterwards(_, let said):
      if case .lost = ending {
        #expect(seen.stdout.contains("read failed: Input/output error"), "\(seen)")
      }
      #expect(proxy.process.wait(timeout: 30) == .exited(74), "\(proxy.log)")
      let line = proxy.log.split(separator: "\n").last { $0.hasPrefix("nbd-secure: ") } ?? ""
      for word in ["\(proxy.socket): lost localhost:\(server.port)"] + said {
        #expect(line.contains(word), "\(proxy.log)")
      }
      try expectSilence(server)
      return
    case .failed: #expect(seen.stdout.contains("read failed: Invalid argument"), "\(seen)")
    case .read:
      #expect(seen.stdout.contains("read 4096/4096 bytes"), "\(seen)")
      #expect(!seen.stdout.contains("failed"), "\(seen)")
    }
    proxy.process.signal(SIGTERM)
    #expect(proxy.process.wait(timeout: 30) == .exited(0), "\(proxy.log)")
  }

  /// After the lie the server hears nothing but, in TLS, that it is over; and nobody comes again.
  private func expectSilence(_ server: FakeServer) throws {
    let record = try server.finished().record
    let mark = try #require(record.fault)
    #expect(record.plaintext.count == mark.plaintext)
    #expect(record.decrypted.count == mark.decrypted)
    #expect(record.clientClosed)
    #expect(server.connections.count == 1)
  }
}
