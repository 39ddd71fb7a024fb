// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import TLS
import TestSupport

@testable import NBDSecure

/// What is between a relay and its model server.
enum ModelLink: String, CaseIterable, Sendable {
  case plain
  case tls12 = "VERS-TLS1.2"
  case tls13 = "VERS-TLS1.3"

  /// The client's end.
  func channel(over socket: consuming Descriptor, lifetime: UInt64? = nil) throws -> any Channel {
    guard self != .plain else { return PlainChannel(socket) }
    let pki = try PKI.shared.get()
    let session = try TLSSession(
      socket: socket, credentials: .x509(.load(directory: pki.trustOnly)),
      identity: ServerIdentity("localhost"), requirements: TLSRequirements())
    try session.handshake(deadline: .after(seconds: 120))
    return TLSChannel(session, lifetime: lifetime)
  }

  /// The server's end; nil when there is no handshake to be had.
  func serve(_ socket: Int32) -> (any ModelWire)? {
    guard self != .plain else { return PlainWire(socket: socket) }
    guard let pki = try? PKI.shared.get() else { return nil }
    // The server's side waits in its system calls.
    _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) & ~O_NONBLOCK)
    let connection = FakeConnection(descriptor: socket, index: 0, recording: false)
    var identity = pki.identity
    identity.priority = "NORMAL:-VERS-ALL:+\(rawValue)"
    do { try connection.startTLS(identity) } catch { return nil }
    return TLSWire(connection)
  }
}

/// What KeyUpdates a server sends: none, such that want no answer, and such that do.
enum KeyUpdates: Sendable { case none, silent, asking }

/// A model server's end of a connection.
protocol ModelWire {
  /// So many bytes; nil at the end. `meanwhile` runs at intervals while nothing comes.
  func receive(_ count: Int, meanwhile: () -> Void) -> [UInt8]?
  /// Whether something waits.
  var hasInput: Bool { get }
  /// Whether it could be sent.
  func send(_ bytes: [UInt8]) -> Bool
  /// Whether the client has taken all that was sent from its socket.
  var isAllTaken: Bool { get }
  /// Whether there are keys to renew, and they were.
  func updateKeys(asking: Bool) -> Bool
}

extension ModelWire {
  func receive(_ count: Int) -> [UInt8]? { receive(count, meanwhile: {}) }
}

private struct PlainWire: ModelWire {
  let socket: Int32

  func receive(_ count: Int, meanwhile: () -> Void) -> [UInt8]? {
    let bytes = try? LinuxIO.receive(count, from: socket, until: .never)
    return bytes?.count == count ? bytes : nil
  }
  var hasInput: Bool {
    (try? LinuxIO.wait(socket, for: .read, until: .after(seconds: 0))) != nil
  }
  func send(_ bytes: [UInt8]) -> Bool {
    (try? sendAll(bytes, to: socket, until: .after(seconds: 120))) != nil
  }
  var isAllTaken: Bool { true }
  func updateKeys(asking: Bool) -> Bool { false }
}

private final class TLSWire: ModelWire {
  private let connection: FakeConnection
  private var buffer: [UInt8] = []

  init(_ connection: FakeConnection) { self.connection = connection }

  func receive(_ count: Int, meanwhile: () -> Void) -> [UInt8]? {
    while buffer.count < count {
      guard let more = try? connection.session?.receiveWhatIsThere(1 << 16) else { return nil }
      buffer += more
      if more.isEmpty, !connection.isReadable(within: 0.05) { meanwhile() }
    }
    defer { buffer.removeFirst(count) }
    return Array(buffer.prefix(count))
  }
  var hasInput: Bool { !buffer.isEmpty || connection.isReadable(within: 0) }
  func send(_ bytes: [UInt8]) -> Bool { (try? connection.send(bytes)) != nil }
  var isAllTaken: Bool {
    var count: Int32 = 0
    // On a Unix socket: what the other end has not read.
    return ioctl(connection.socketNumber, UInt(TIOCOUTQ), &count) == 0 && count == 0
  }
  func updateKeys(asking: Bool) -> Bool {
    (try? connection.session?.updateKeys(asking: asking)) != nil
  }
}
