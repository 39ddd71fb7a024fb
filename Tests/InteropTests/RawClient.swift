// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport

/// A client of the proxy that keeps to the protocol as far as a test wants it to.
final class RawClient {
  enum Command: UInt16 { case read, write, disc, flush }

  let descriptor: Int32
  private var cookie: UInt64 = 0

  /// Connects, and asks for the transmission phase unless told otherwise.
  init(_ path: String, entering: Bool = true) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard descriptor >= 0, connected == 0 else { throw SystemError("connect \(path)") }
    var patience = timeval(tv_sec: 20 * Int(TestSupport.patience), tv_usec: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    guard entering else { return }
    _ = try receive(18)
    try send(
      Wire.be(UInt32(3)) + Wire.be(Wire.optionMagic) + Wire.be(Wire.Option.exportName)
        + Wire.be(UInt32(0)))
    _ = try receive(10)
  }

  deinit { close(descriptor) }

  func send(_ bytes: [UInt8]) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes {
        Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw SystemError("send") }
      rest = rest.dropFirst(count)
    }
  }

  /// Sends what fits without waiting; how much.
  func sendWhatFits(_ bytes: [UInt8]) -> Int {
    max(
      0,
      bytes.withUnsafeBytes {
        Foundation.send(
          descriptor, $0.baseAddress, $0.count,
          Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
      })
  }

  func receive(_ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var got = 0
    while got < count {
      let more = bytes.withUnsafeMutableBytes {
        recv(descriptor, $0.baseAddress.map { $0 + got }, count - got, 0)
      }
      guard more > 0 else {
        throw more == 0 ? SystemError("recv", because: "closed") : SystemError("recv")
      }
      got += more
    }
    return bytes
  }

  static func header(_ command: Command, offset: Int, length: Int, cookie: UInt64) -> [UInt8] {
    Wire.be(UInt32(0x2560_9513)) + Wire.be(UInt16(0)) + Wire.be(command.rawValue) + Wire.be(cookie)
      + Wire.be(UInt64(offset)) + Wire.be(UInt32(length))
  }

  /// One request and its reply: the error, and what was read.
  func call(
    _ command: Command, offset: Int = 0, length: Int = 0, payload: [UInt8] = []
  ) throws -> (error: UInt32, data: [UInt8]) {
    cookie += 1
    try send(Self.header(command, offset: offset, length: length, cookie: cookie) + payload)
    let reply = try receive(16)
    guard Wire.integer(reply[0..<4]) == 0x6744_6698, Wire.integer(reply[8..<16]) == cookie else {
      throw SystemError("reply", because: "\(reply)")
    }
    let error = UInt32(Wire.integer(reply[4..<8]))
    return (error, command == .read && error == 0 ? try receive(length) : [])
  }

  func write(_ offset: Int, _ bytes: [UInt8]) throws -> UInt32 {
    try call(.write, offset: offset, length: bytes.count, payload: bytes).error
  }

  /// Takes leave, and waits for the proxy to close its end: the seat is free then, and whoever
  /// comes next sits there rather than on a connection of its own, whose proof is a FLUSH.
  func disconnect() throws {
    try send(Self.header(.disc, offset: 0, length: 0, cookie: 0))
    var byte: UInt8 = 0
    guard recv(descriptor, &byte, 1, 0) == 0 else { throw SystemError("recv after NBD_CMD_DISC") }
  }
}
