// SPDX-License-Identifier: Apache-2.0
import Foundation

/// Where a test server listens.
package enum Transport: String, CaseIterable, Sendable {
  case ipv4, ipv6, unix
}

/// A listening socket on a port that the system picked, or on a Unix path.
package final class Listener: Sendable {
  let descriptor: Int32
  /// The TCP port; 0 for Unix sockets.
  package let port: Int
  /// The Unix socket's path.
  package let socketPath: String?

  /// Binds to the loopback address, or to `path` for a Unix socket.
  package init(_ transport: Transport, path: String? = nil) throws {
    switch transport {
    case .ipv4:
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
      (descriptor, address) = try bound(AF_INET, address)
      port = Int(UInt16(bigEndian: address.sin_port))
      socketPath = nil
    case .ipv6:
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_addr = in6addr_loopback
      (descriptor, address) = try bound(AF_INET6, address)
      port = Int(UInt16(bigEndian: address.sin6_port))
      socketPath = nil
    case .unix:
      guard let path, path.utf8.count < 108 else {
        throw SystemError("Unix socket", because: "path missing or too long")
      }
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
      (descriptor, _) = try bound(AF_UNIX, address)
      port = 0
      socketPath = path
    }
    guard listen(descriptor, 64) == 0 else { throw SystemError("listen") }
  }

  deinit { close(descriptor) }
}

/// A TCP port that refuses connections until a server listens on it, for servers that cannot be handed
/// a socket and allow addresses to be used again (SO_REUSEADDR). It is kept until the tests end: the
/// system gives it to nobody else, also while no server has it.
package func freePort() throws -> Int {
  var address = sockaddr_in6()
  address.sin6_family = sa_family_t(AF_INET6)
  // Any address of either family; bound is not listening.
  (_, address) = try bound(AF_INET6, address, reusable: true)
  return Int(UInt16(bigEndian: address.sin6_port))
}

private func bound<Address>(
  _ family: Int32, _ wanted: Address, reusable: Bool = false
) throws -> (Int32, Address) {
  let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
  guard descriptor >= 0 else { throw SystemError("socket") }
  var reuse: Int32 = reusable ? 1 : 0
  setsockopt(
    descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, socklen_t(MemoryLayout<Int32>.size))
  var address = wanted
  var length = socklen_t(MemoryLayout<Address>.size)
  let done = withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, length) == 0
        && (family == AF_UNIX || getsockname(descriptor, $0, &length) == 0)
    }
  }
  guard done else {
    let error = SystemError("bind")
    close(descriptor)
    throw error
  }
  return (descriptor, address)
}
