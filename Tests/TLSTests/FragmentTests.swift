// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import TLS
import TestSupport
import Testing

/// Handshake messages that span several records.
@Suite struct FragmentTests {
  /// A message may span any number of records (RFC 8446, 5.1), and all of them may come at once.
  @Test(arguments: Version.allCases)
  func largeCertificate(_ version: Version) throws {
    let facts = try prove(server("names-3000", version), x509())
    guard case .x509(let certificate, _) = facts.authentication else {
      Issue.record("\(facts.authentication)")
      return
    }
    #expect(certificate.dnsNames.count == 3001)
  }

  @Test(arguments: [1, 7, 256], ["good", "names-3000"])
  func fragmentedFlight(_ size: Int, _ name: String) throws {
    let identity = try server(name, .v12)
    let listening = try FakeServer { connection in
      let fragments = Fragments(size)
      connection.tamper = { fragments.cut($0) }
      try connection.startTLS(identity)
      try connection.send(greeting)
    }
    defer { listening.stop() }
    let session = try TLSSession.connected(to: listening, x509())
    try session.handshake(deadline: soon)
    #expect(try session.readExactly(greeting.count, deadline: soon) == greeting)
  }

  /// However many fragments there are, the deadline holds.
  @Test func endlessFragments() throws {
    let listening = try FakeServer { connection in
      _ = try connection.receiveSomething()
      // A server hello of 16 MiB, byte by byte, as fast as it goes.
      try connection.sendRaw([22, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff])
      let many = [UInt8]([[UInt8]](repeating: [22, 3, 3, 0, 1, 0], count: 10_000).joined())
      while true { try connection.sendRaw(many) }
    }
    defer { listening.stop() }
    let session = try TLSSession.connected(to: listening, x509())
    let begin = monotonicNanoseconds()
    let error = failure(TLSError.self) { try session.handshake(deadline: .after(seconds: 0.5)) }
    #expect(error?.kind == .deadline, "\(String(describing: error))")
    #expect(Double(monotonicNanoseconds() - begin) / 1e9 < 60)
    session.shutdownSocket()
  }
}

/// Cuts the records of a server's first flight in TLS 1.2 into smaller ones, and sends them at once.
final class Fragments {
  private let size: Int
  private var held: [UInt8] = []
  private var out: [UInt8] = []
  private var isEncrypted = false

  init(_ size: Int) { self.size = size }

  func cut(_ bytes: [UInt8]) -> [UInt8] {
    held += bytes
    var isDone = false
    while held.count >= 5 {
      let length = Int(held[3]) << 8 | Int(held[4])
      guard held.count >= 5 + length else { break }
      let body = held[5..<5 + length]
      if held[0] == 20 { isEncrypted = true }
      if held[0] == 22, !isEncrypted {
        // The flight ends with ServerHelloDone.
        isDone = isDone || body.suffix(4).elementsEqual([14, 0, 0, 0])
        var rest = body
        while !rest.isEmpty {
          let part = rest.prefix(size)
          out += [22, 3, 3, UInt8(part.count >> 8), UInt8(part.count & 0xff)] + part
          rest = rest.dropFirst(size)
        }
      } else {
        out += held[..<(5 + length)]
        isDone = true
      }
      held.removeFirst(5 + length)
    }
    guard isDone else { return [] }
    defer { out = [] }
    return out
  }
}
