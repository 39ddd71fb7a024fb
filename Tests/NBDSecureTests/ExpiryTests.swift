// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing

@testable import NBDSecure

/// Certificates that end soon are named in one line, with the days left and the date.
@Suite struct ExpiryTests {
  private static let day: Int64 = 86400
  /// 2026-11-22 12:00:00 UTC.
  private let now: Int64 = 1_795_348_800

  @Test(
    arguments: [
      (30 * day, nil),
      (30 * day - 1, "it ends in 29 days, on 2026-12-22"),
      (2 * day, "it ends in 2 days, on 2026-11-24"),
      (day, "it ends in 1 day, on 2026-11-23"),
      (day - 1, "it ends in less than a day, on 2026-11-23"),
      (0, "it ends in less than a day, on 2026-11-22"),
      (-1, "it ended on 2026-11-22"),
      (-10 * day, "it ended on 2026-11-12"),
    ] as [(Int64, String?)])
  func warnsOfTheEnd(_ left: Int64, _ line: String?) {
    #expect(Expiry.warning("it", notAfter: now + left, now: now) == line)
  }

  @Test(arguments: [Int64.min, Int64.max]) func anyMomentWillDo(_ notAfter: Int64) {
    _ = Expiry.warning("it", notAfter: notAfter, now: now)
  }

  @Test func statusWarnsOfBothCertificates() throws {
    var state = AttachmentState(
      device: "nbd0", pid: 1, server: "disks.example:10809", address: "192.0.2.1:10809",
      export: "", identifier: "", options: "", size: 0, readOnly: false, blockSize: 512,
      connections: 1, dataPath: "relay", binding: "netlink", link: .connected, since: 0,
      attachedSince: 0, reconnectTimeout: 0, ioTimeout: 0)
    #expect(state.warnings(at: now) == [])
    state.tls = TLSReport(
      version: "TLS 1.3", cipher: "AES-256-GCM", keyExchange: "ECDHE-ECDSA",
      authentication: "x509", subject: "CN=disks.example", notAfter: now + 3 * Self.day)
    #expect(
      state.warnings(at: now) == [
        "disks.example:10809: the server's certificate CN=disks.example ends in 3 days, "
          + "on 2026-11-25"
      ])
    #expect(state.warnings(at: now - 40 * Self.day) == [])
    state.tls?.clientSubject = "CN=us"
    state.tls?.clientNotAfter = now - 2
    #expect(
      state.warnings(at: now - 37 * Self.day) == [])
    #expect(
      state.warnings(at: now).last
        == "disks.example:10809: our certificate CN=us ended on 2026-11-22")
  }

  @Test func whatWasSaidIsNoNews() {
    let heard = Heard()
    let news = Novelties { line in heard.lines.withLock { $0.append(line) } }
    for line in ["a", "b", "a", "a", "c", "b"] { news.say(line) }
    #expect(heard.lines.withLock { $0 } == ["a", "b", "c"])
  }
}

private final class Heard: Sendable {
  let lines = Mutex<[String]>([])
}
