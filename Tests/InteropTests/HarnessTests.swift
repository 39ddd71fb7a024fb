// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// The servers of the matrix, seen by clients that are not ours: what fails here is the harness's
/// fault, not the program's.
@Suite(.serialized) struct HarnessTests {
  @Test(arguments: serverMatrix(transports: [.ipv4, .unix]))
  func serverAnswersItsOwnVersionOfTLS(_ wanted: ServerConfiguration) throws {
    let server = try Server(wanted)
    let directory = try TemporaryDirectory()
    for version in TLSVersion.allCases {
      let only = try directory.write("gnutls.conf", version.gnutlsConfiguration)
      let seen = try run(
        "nbdinfo", ["--size", try server.libnbdURI()],
        environment: ["GNUTLS_SYSTEM_PRIORITY_FILE": only])
      if version == wanted.tls.version {
        #expect(seen.stdout == "\(wanted.size)\n", "\(seen)\n\(server.log)")
      } else {
        #expect(seen.status == 1, "\(seen)\n\(server.log)")
      }
    }
  }
}

/// The fake server, seen by a client that is not ours.
@Suite struct FakeServerTests {
  @Test func honestScriptIsUnderstood() throws {
    let pki = try PKI.shared.get()
    let identity = pki.identity
    let server = try FakeServer { client in
      try client.greet()
      try client.acceptTLS(identity)
      while true {
        let option = try client.receiveOption()
        switch option.number {
        case Wire.Option.info, Wire.Option.go:
          try client.send(
            Wire.reply(to: option.number, Wire.Reply.info, Wire.exportInfo(size: 12345 * 512)))
          try client.send(Wire.reply(to: option.number, Wire.Reply.ack))
          if option.number == Wire.Option.go { return }
        default: try client.send(Wire.reply(to: option.number, Wire.Reply.errUnsupported))
        }
      }
    }
    let seen = try run(
      "nbdinfo",
      ["--size", "nbds://localhost:\(server.port)/secret-name?tls-certificates=\(pki.trustOnly)"])
    #expect(seen.stdout == "\(12345 * 512)\n", "\(seen)")
    let record = try server.finished().record
    #expect(record.failure == nil)
    #expect(record.clientClosed)
    // Client flags and STARTTLS crossed in plaintext, nothing else.
    #expect(
      record.plaintext == Wire.be(UInt32(3)) + Wire.be(Wire.optionMagic) + Wire.be(UInt32(5))
        + Wire.be(UInt32(0)))
    let name = Array("secret-name".utf8)
    #expect(record.decrypted.contains(name))
    #expect(!record.wire.contains(name))
  }

  @Test func silenceAndResetAreSeen() throws {
    let server = try FakeServer { client in
      try client.send(Wire.greeting())
      try client.receive(4)
      client.reset()
    }
    let seen = try run("nbdinfo", ["nbd://127.0.0.1:\(server.port)"])
    #expect(seen.status == 1)
    #expect(seen.stderr.contains("reset"), "\(seen)")
    #expect(!(try server.finished().record.clientClosed))
  }
}

/// The runner itself.
@Suite struct RunTests {
  @Test func captures() throws {
    let seen = try run("sh", ["-c", "cat; echo no >&2; exit 3"], input: Array("yes".utf8))
    #expect(seen.status == 3)
    #expect(seen.stdout == "yes")
    #expect(seen.errorLines == ["no"])
    #expect(seen.streamsReleased)
  }

  @Test func endsWhatHangs() throws {
    let seen = try run("sleep", ["60"], timeout: 0.3)
    #expect(seen.ending == .timedOut)
    #expect(seen.seconds < 50)
  }

  @Test func noticesHeldStreams() throws {
    let seen = try run("sh", ["-c", "sleep 600 & echo $!"])
    if let left = pid_t(seen.stdout.dropLast()) { kill(left, SIGKILL) }
    #expect(seen.status == 0)
    #expect(!seen.streamsReleased)
  }

  @Test func missingToolIsAnError() {
    #expect(throws: SystemError.self) { try run("no-such-program") }
  }
}
