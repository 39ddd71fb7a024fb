// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import TestSupport

/// Somebody on the wire between the program and a real server: writes down every byte in either
/// direction, and may flip one bit.
final class Wiretap: @unchecked Sendable {
  enum Direction: Sendable { case toServer, toClient }

  /// What crossed, in the order in which it did.
  struct Tape: Sendable {
    var chunks: [(direction: Direction, bytes: [UInt8])] = []

    /// All bytes of one direction.
    func bytes(_ direction: Direction) -> [UInt8] {
      chunks.filter { $0.direction == direction }.flatMap(\.bytes)
    }
  }

  /// Where to flip a bit: the direction, and the position from the first byte of the first connection
  /// that comes so far.
  struct Flip: Sendable {
    let direction: Direction
    let position: Int
    let mask: UInt8
  }

  private let shared = Shared()
  private let server: FakeServer
  private let state = Mutex(Tape())

  /// Listens, and passes everything on to the local TCP port.
  init(to port: Int, flip: Flip? = nil) throws {
    let shared = shared
    server = try FakeServer(.ipv4) { client in
      let upstream = try connectLocally(port)
      defer { close(upstream) }
      var seen: [Direction: Int] = [:]
      try client.relay(with: upstream) { direction, bytes in
        var bytes = bytes
        let start = seen[direction, default: 0]
        seen[direction] = start + bytes.count
        if let flip, flip.direction == direction, flip.position >= start,
          flip.position < start + bytes.count,
          shared.flipped.compareExchange(expected: false, desired: true, ordering: .relaxed)
            .exchanged
        {
          bytes[flip.position - start] ^= flip.mask
        }
        shared.owner?.state.withLock { $0.chunks.append((direction, bytes)) }
        return bytes
      }
    }
    shared.owner = self
  }

  private final class Shared: @unchecked Sendable {
    weak var owner: Wiretap?
    let flipped = Atomic<Bool>(false)
  }

  var port: Int { server.port }

  /// The bit was flipped.
  var hasFlipped: Bool { shared.flipped.load(ordering: .relaxed) }

  /// What crossed, once the first connection is over.
  func tape() throws -> Tape {
    _ = try server.finished()
    return state.withLock { $0 }
  }
}

/// A connection to a port of this machine.
private func connectLocally(_ port: Int) throws -> Int32 {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  address.sin_port = UInt16(port).bigEndian
  let code = withUnsafePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
  guard code == 0 else { throw SystemError("connect") }
  return descriptor
}

extension FakeConnection {
  /// Passes bytes both ways until both sides have ended.
  fileprivate func relay(
    with upstream: Int32, _ pass: (Wiretap.Direction, [UInt8]) -> [UInt8]
  ) throws {
    var open: [Wiretap.Direction: Bool] = [.toServer: true, .toClient: true]
    let end = now() + 30 * TestSupport.patience
    while open.values.contains(true), now() < end {
      var watched = [
        pollfd(fd: open[.toServer] == true ? socketNumber : -1, events: Int16(POLLIN), revents: 0),
        pollfd(fd: open[.toClient] == true ? upstream : -1, events: Int16(POLLIN), revents: 0),
      ]
      guard poll(&watched, 2, 1000) > 0 else { continue }
      for (index, direction) in [Wiretap.Direction.toServer, .toClient].enumerated()
      where watched[index].revents != 0 {
        let (source, target) =
          direction == .toServer ? (socketNumber, upstream) : (upstream, socketNumber)
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(source, &buffer, buffer.count, 0)
        if count > 0 {
          var rest = pass(direction, Array(buffer.prefix(count)))[...]
          while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
              Glibc.send(target, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { break }
            rest = rest.dropFirst(sent)
          }
        } else {
          open[direction] = false
          shutdown(target, Int32(SHUT_WR))
        }
      }
    }
  }
}
