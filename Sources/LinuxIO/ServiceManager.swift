// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// The readiness protocol of sd_notify(3).
package enum ServiceManager {
  /// Whether NOTIFY_SOCKET names somebody to tell.
  package static var isListening: Bool { socketPath != nil }

  private static var socketPath: String? {
    guard let path = ThisProcess.environment("NOTIFY_SOCKET"), !path.isEmpty else { return nil }
    return path
  }

  /// Sends assignments such as "READY=1" and "STATUS=…", one datagram. False when nobody listens.
  @discardableResult
  package static func notify(_ assignments: [String]) throws(Errno) -> Bool {
    guard let path = socketPath else { return false }
    try notify(assignments, socket: path)
    return true
  }

  /// The same to a socket named by the caller; a path that starts with "@" is abstract.
  package static func notify(_ assignments: [String], socket path: String) throws(Errno) {
    guard path.hasPrefix("/") || path.hasPrefix("@") else { throw .addressFamilyNotSupported }
    let name = path.hasPrefix("@") ? "\0" + path.dropFirst() : path
    let socket = try datagramSocket()
    let message = assignments.joined(separator: "\n") + "\n"
    try sendDatagram(socket.raw, Array(message.utf8), to: .unix(path: name))
  }
}

/// A Unix datagram socket that is not bound to a name.
func datagramSocket() throws(Errno) -> Descriptor {
  try Descriptor(
    checking: socket(
      AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
}

/// Sends one datagram without ever blocking.
func sendDatagram(_ socket: Int32, _ bytes: [UInt8], to address: SocketAddress) throws(Errno) {
  _ = try unsafe address.withRaw { (raw, length) throws(Errno) -> Int in
    let sent = unsafe clinux_send_to(socket, bytes, bytes.count, raw, length)
    guard sent >= 0 else { throw lastErrno() }
    return sent
  }
}
