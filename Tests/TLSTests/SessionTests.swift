// SPDX-License-Identifier: Apache-2.0
import CGnuTLSLibrary
import Foundation
import LinuxIO
import TLS
import TestSupport
import Testing

/// What happens in an established session.
@Suite struct SessionTests {
  private func session(
    _ server: FakeServer, _ credentials: Credentials? = nil
  ) throws -> TLSSession {
    let session = try TLSSession.connected(to: server, credentials ?? x509())
    try session.handshake(deadline: soon)
    return session
  }

  /// Everything that was sent comes back, through the calls of the relay.
  @Test(arguments: Version.allCases)
  func relayBothWays(_ version: Version) throws {
    let identity = try server("good", version)
    let total = 3 << 20
    let listening = try FakeServer { connection in
      // Under a sanitizer this takes a while.
      connection.patience = 60
      try connection.startTLS(identity)
      var left = total
      while left > 0 {
        let bytes = try connection.receive(min(left, 30_000))
        try connection.send(bytes)
        left -= bytes.count
      }
    }
    defer { listening.stop() }
    let session = try session(listening)
    // Of a length that no record or buffer shares.
    let pattern = (0..<4099).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let data = Array(
      repeatElement(pattern, count: total / pattern.count + 1).joined().prefix(total))
    var back = [UInt8](repeating: 0, count: total)
    var sent = 0
    var got = 0
    while got < total {
      let moved = sent + got
      try data.withUnsafeBytes { buffer in
        let part = UnsafeRawBufferPointer(rebasing: buffer[sent...].prefix(100_000))
        if !part.isEmpty { sent += try session.send(part) }
      }
      #expect(session.pendingOutput <= TLSSession.outputCapacity)
      _ = try session.flush()
      try back.withUnsafeMutableBytes { buffer in
        got += try session.receive(into: UnsafeMutableRawBufferPointer(rebasing: buffer[got...]))
      }
      if sent + got == moved, !session.hasBufferedInput {
        try wait(
          session.rawDescriptor, for: session.pendingOutput > 0 ? [.read, .write] : .read,
          until: soon)
      }
    }
    #expect(back == data)
    session.close(deadline: soon)
    #expect(try listening.finished().record.clientClosed)
  }

  /// A full output buffer takes no more, and loses nothing.
  @Test func backPressure() throws {
    let identity = try server()
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      try connection.send(greeting)
    }
    defer { listening.stop() }
    let session = try session(listening)
    // What is not read when a socket is closed resets the connection, and what was sent may be lost.
    _ = try session.readExactly(greeting.count, deadline: soon)
    let data = [UInt8](repeating: 7, count: 1 << 20)
    let taken = try data.withUnsafeBytes { try session.send($0) }
    #expect(taken > 400_000 && taken < TLSSession.outputCapacity)
    #expect(try data.withUnsafeBytes { try session.send($0) } == 0)
    try session.writeAll([], deadline: soon)
    #expect(session.pendingOutput == 0)
    session.close(deadline: soon)
    #expect(try listening.finished().record.decrypted == Array(data.prefix(taken)))
  }

  @Test(arguments: [false, true])
  func keyUpdates(asking: Bool) throws {
    let identity = try server()
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      for round: UInt8 in 0..<6 {
        try connection.send([round])
        try connection.session?.updateKeys(asking: asking)
        try connection.send([round])
        _ = try connection.receive(3)
      }
    }
    defer { listening.stop() }
    let session = try session(listening)
    for round: UInt8 in 0..<6 {
      #expect(try session.readExactly(2, deadline: soon) == [round, round])
      try session.writeAll([1, 2, 3], deadline: soon)
    }
    session.close(deadline: soon)
    #expect(try listening.finished().record.decrypted.count == 18)
  }

  @Test func tickets() throws {
    let identity = try server()
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      try connection.session?.sendTickets(100)
      try connection.send(greeting)
    }
    defer { listening.stop() }
    let session = try session(listening)
    #expect(try session.readExactly(greeting.count, deadline: soon) == greeting)
  }

  /// Records without data for ever do not hold the reader past its deadline.
  @Test func endlessTickets() throws {
    let identity = try server()
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      while true { try connection.session?.sendTickets(10) }
    }
    defer { listening.stop() }
    let session = try session(listening)
    let error = failure(TLSError.self) {
      _ = try session.readExactly(1, deadline: .after(seconds: 0.5))
    }
    #expect(error?.kind == .deadline, "\(String(describing: error))")
  }

  @Test func renegotiation() throws {
    let identity = try server("good", .v12)
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      try connection.send(greeting)
      try connection.session?.askRenegotiation()
    }
    defer { listening.stop() }
    let session = try session(listening)
    _ = try session.readExactly(greeting.count, deadline: soon)
    let error = failure(TLSError.self) { _ = try session.readExactly(1, deadline: soon) }
    #expect(error?.kind == .renegotiation, "\(String(describing: error))")
    #expect(error?.kind.category == .protocolViolation)
  }

  /// A changed byte anywhere in a record, and a record played twice, end the session.
  @Test(arguments: Version.allCases, [0, 1, 2, 3, 4, 5, 9, 15, -1])
  func changedRecord(_ version: Version, at offset: Int) throws {
    let identity = try server("good", version)
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      try connection.send(greeting)
      connection.tamper = { bytes in
        guard offset >= 0 else { return bytes + bytes }
        var bytes = bytes
        bytes[offset] ^= 1
        return bytes
      }
      try connection.send(greeting)
      connection.tamper = nil
      // A longer length takes this for the rest of the record.
      try connection.send([UInt8](repeating: 0, count: 1000))
    }
    defer { listening.stop() }
    let session = try session(listening)
    _ = try session.readExactly(greeting.count, deadline: soon)
    if offset < 0 { _ = try session.readExactly(greeting.count, deadline: soon) }
    let error = failure(TLSError.self) {
      _ = try session.readExactly(greeting.count, deadline: soon)
    }
    #expect(error?.kind == .protocolViolation, "\(String(describing: error))")
    // And it stays ended.
    let again = failure(TLSError.self) {
      _ = try session.readExactly(greeting.count, deadline: soon)
    }
    #expect(again != nil)
  }

  @Test(arguments: Version.allCases, [true, false])
  func end(_ version: Version, orderly: Bool) throws {
    let identity = try server("good", version)
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      try connection.send(greeting)
      if orderly { connection.close() } else { connection.abort() }
    }
    defer { listening.stop() }
    let session = try session(listening)
    let error = failure(TLSError.self) { _ = try session.readExactly(100, deadline: soon) }
    #expect(error?.kind == .closed(orderly: orderly), "\(String(describing: error))")
    #expect(error?.kind.category == .connection)
  }

  @Test func alert() throws {
    let identity = try server()
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      try connection.send(greeting)
      connection.session?.alert(GNUTLS_A_INTERNAL_ERROR)
    }
    defer { listening.stop() }
    let session = try session(listening)
    let error = failure(TLSError.self) { _ = try session.readExactly(100, deadline: soon) }
    #expect(error?.kind == .endedByAlert, "\(String(describing: error))")
  }

  @Test func silenceAfterwards() throws {
    let identity = try server()
    let listening = try FakeServer { try $0.startTLS(identity) }
    defer { listening.stop() }
    let session = try session(listening)
    let error = failure(TLSError.self) {
      _ = try session.readExactly(1, deadline: .after(seconds: 0.2))
    }
    #expect(error?.kind == .deadline)
  }

  @Test func shutdownFromAnotherThread() throws {
    let identity = try server()
    let listening = try FakeServer { try $0.startTLS(identity) }
    defer { listening.stop() }
    let session = try session(listening)
    nonisolated(unsafe) let shared = session
    Thread.detachNewThread {
      usleep(100_000)
      shared.shutdownSocket()
    }
    let error = failure(TLSError.self) { _ = try session.readExactly(1, deadline: soon) }
    #expect(error?.kind.category == .connection, "\(String(describing: error))")
  }

  @Test func serverThatDoesNotRead() throws {
    let identity = try server()
    let isOver = DispatchSemaphore(value: 0)
    let listening = try FakeServer { connection in
      try connection.startTLS(identity)
      _ = isOver.wait(timeout: .now() + 60)
    }
    defer {
      listening.stop()
      isOver.signal()
    }
    let session = try session(listening)
    let error = failure(TLSError.self) {
      try session.writeAll(
        [UInt8](repeating: 0, count: 64 << 20), deadline: .after(seconds: 0.5))
    }
    #expect(error?.kind == .deadline, "\(String(describing: error))")
  }

  /// Neither secrets nor a log of them come from the environment's doing.
  @Test func keyMaterialForTheKernel() throws {
    for version in Version.allCases {
      for cipher in TLSCipher.allCases {
        let identity = try server("good", version)
        let listening = try FakeServer { connection in
          try connection.startTLS(identity)
          try connection.send(greeting)
          _ = try connection.receive(4)
          try connection.send(greeting)
        }
        defer { listening.stop() }
        let session = try TLSSession.connected(
          to: listening, x509(), as: "localhost", TLSRequirements(allowedCiphers: [cipher]))
        #expect(throws: TLSError.self) { try session.kernelTLSParameters() }
        try session.handshake(deadline: soon)
        _ = try session.readExactly(greeting.count, deadline: soon)
        let keys = try session.kernelTLSParameters()
        let length = [TLSCipher.aes128GCM: 40, .aes256GCM: 56, .chacha20Poly1305: 56][cipher]
        #expect(keys.transmit.count == length && keys.receive.count == length)
        #expect(keys.transmit != keys.receive)
        #expect(keys.transmit.prefix(2) == (version == .v13 ? [4, 3] : [3, 3]))
        #expect(Array(keys.receive.suffix(8)).last == (version == .v13 ? 1 : 2))

        // The session can go on when the kernel did not want them; not while data is on its way.
        _ = try [UInt8](repeating: 1, count: 4).withUnsafeBytes { try session.send($0) }
        let error = failure(TLSError.self) { _ = try session.kernelTLSParameters() }
        #expect(error?.kind == .notTransferable)
        #expect(try session.flush())
        _ = try session.readExactly(greeting.count, deadline: soon)
        let socket = try session.releaseSocketAfterKernelTLS()
        #expect(socket.raw == session.rawDescriptor)
      }
    }
  }
}
