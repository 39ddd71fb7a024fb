// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import SystemPackage
import TestSupport
import Testing

@Suite struct SocketTests {
  let soon = Deadline.after(seconds: 60)

  @Test(arguments: [
    SocketAddress.ipv4(address: [127, 0, 0, 1], port: 0),
    SocketAddress.ipv6(address: [UInt8](repeating: 0, count: 15) + [1], port: 0, scope: 0),
  ])
  func connectsOverTCP(address: SocketAddress) throws {
    let listener = try listenTCP(at: address)
    let bound = try SocketAddress.local(of: listener.raw)
    let client = try connectStream(to: bound, deadline: soon)
    try wait(listener, for: .read, until: soon)
    guard let server = try acceptConnection(listener.raw) else {
      Issue.record("nothing to accept")
      return
    }
    #expect(try SocketAddress.peer(of: client.raw) == bound)
    #expect(try SocketAddress.local(of: client.raw) == SocketAddress.peer(of: server.raw))
    try setUserTimeout(client.raw, seconds: 5)
    try sendAll([1, 2, 3], to: server.raw, until: soon)
    try wait(client, for: .read, until: soon)
    #expect(try hasInput(client.raw))
    #expect(try receive(3, from: client.raw, until: soon) == [1, 2, 3])
    #expect(try !hasInput(client.raw))
    shutdownSocket(server.raw)
    #expect(try receive(3, from: client.raw, until: soon) == [])
    #expect(try acceptConnection(listener.raw) == nil ? true : false)
  }

  @Test func refusedConnectionThrows() throws {
    let bound = SocketAddress.ipv4(address: [127, 0, 0, 1], port: UInt16(try freePort()))
    #expect(throws: Errno.connectionRefused) {
      _ = try connectStream(to: bound, deadline: soon).raw
    }
  }

  @Test func unixListenerHasItsMode() throws {
    let path = NSTemporaryDirectory() + "nbd-secure-\(UUID().uuidString)"
    defer { unlink(path) }
    let listener = try listenUnix(path: path)
    #expect(try FileFacts(path: path).mode == 0o600)
    #expect(try FileFacts(path: path).isSocket)
    let client = try connectStream(to: .unix(path: path), deadline: soon)
    #expect(try SocketAddress.peer(of: client.raw) == .unix(path: path))
    #expect(throws: Errno.addressInUse) { _ = try listenUnix(path: path).raw }
    _ = listener.raw
  }

  @Test func fullBacklogEndsAtTheDeadline() throws {
    let name = "\0nbd-secure-\(UUID().uuidString)"
    let listener = try listenUnix(path: name, backlog: 0)
    let first = try connectStream(to: .unix(path: name), deadline: soon)
    #expect(throws: Errno.timedOut) {
      // A backlog of 0 holds one connection.
      for _ in 0..<3 {
        let more = try connectStream(to: .unix(path: name), deadline: .after(seconds: 0.05))
        _ = more.release()
      }
    }
    _ = (listener.raw, first.raw)
  }

  @Test func longUnixPathIsRefused() {
    #expect(throws: Errno.fileNameTooLong) {
      let path = "/" + String(repeating: "x", count: 108)
      _ = try connectStream(to: .unix(path: path), deadline: soon).raw
    }
  }

  @Test func numericAddressesAreParsedWithoutLookup() {
    #expect(
      SocketAddress(numeric: "192.0.2.1", port: 1) == .ipv4(address: [192, 0, 2, 1], port: 1))
    #expect(SocketAddress(numeric: "2001:db8::1", port: 1)?.description == "[2001:db8::1]:1")
    for text in ["1", "127.1", "localhost", "", "1.2.3.4.5", "300.1.1.1", "[::1]"] {
      #expect(SocketAddress(numeric: text, port: 1) == nil, "\(text)")
    }
  }

  @Test func resolvesNames() throws {
    #expect(try !resolve(host: "localhost", port: 1, deadline: soon).isEmpty)
    #expect(throws: ResolveError.self) {
      try resolve(host: "does-not-exist.invalid", port: 1, deadline: .after(seconds: 60))
    }
  }

  @Test func transfersTellWhatHappened() throws {
    let pair = try SocketPair()
    var buffer = [UInt8](repeating: 0, count: 16)
    let first = pair.first.raw
    let nothing = buffer.withUnsafeMutableBytes { receive(first, into: $0) }
    #expect(nothing == .wouldBlock)
    let sent = [7, 8].withUnsafeBytes { a in
      [UInt8(9)].withUnsafeBytes { b in sendGathered(pair.second.raw, a, b) }
    }
    #expect(sent == .bytes(17))
    #expect(buffer.withUnsafeMutableBytes { receive(first, into: $0) } == .bytes(16))
    shutdownSocket(pair.second.raw)
    #expect(buffer.withUnsafeMutableBytes { receive(first, into: $0) } == .bytes(1))
    #expect(buffer.withUnsafeMutableBytes { receive(first, into: $0) } == .closed)
    #expect([UInt8(1)].withUnsafeBytes { send(first, $0) } == .closed)
    #expect([UInt8(1)].withUnsafeBytes { writeSome(-1, $0) } == .failed(.badFileDescriptor))
  }
}
