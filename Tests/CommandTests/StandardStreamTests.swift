// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// The caller's standard streams, closed or full.
@Suite struct StandardStreamTests {
  /// A closed descriptor's number must not become a socket's: what is printed would go to the server.
  @Test(arguments: ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
  func noSocketTakesTheirPlace(closed: String) throws {
    let server = try FakeServer { connection in
      try connection.send(Array("NBDMAGICIHAVEOPT".utf8) + [0, 3])
      _ = try? connection.receive(1000)
    }
    let script =
      "exec \"$1\" info -v --hostname localhost --address 127.0.0.1 --port $2 "
      + "--connect-timeout 1 \(closed)"
    let outcome = try run(
      "/bin/bash", ["-c", script, "bash", nbdSecurePath, "\(server.port)"])
    #expect(outcome.status != 0)
    let sent = try server.finished().record.wire
    let text = String(decoding: sent, as: UTF8.self)
    #expect(!text.contains("connect"), "the trace went to the server: \(text)")
  }

  @Test func lostOutputIsAnError() throws {
    let outcome = try run(
      "/bin/bash", ["-c", "exec \"$1\" policy show >/dev/full", "bash", nbdSecurePath])
    #expect(outcome.status == 1)
    #expect(outcome.stderr.contains("standard output: cannot be written"))
  }

  /// A reader that leaves after the first line has heard all that it wanted.
  @Test func earlyReadersAreNoError() throws {
    let script =
      "set -o pipefail; for i in $(seq 50); do \"$1\" policy show | grep -q . || exit; done"
    let outcome = try run("/bin/bash", ["-c", script, "bash", nbdSecurePath])
    #expect(outcome.status == 0, "\(outcome)")
  }
}
