// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// Where a stream socket connects to, or what it is bound to.
package enum SocketAddress: Hashable, Sendable {
  /// Four bytes in network order, and a port.
  case ipv4(address: [UInt8], port: UInt16)
  /// Sixteen bytes in network order, a port, and the interface index of a link-local address.
  case ipv6(address: [UInt8], port: UInt16, scope: UInt32)
  /// A path; one that starts with NUL is abstract; the empty one is an unnamed socket's.
  case unix(path: String)
  /// A context identifier and a port of vsock(7).
  case vsock(cid: UInt32, port: UInt32)

  /// AF_INET and its kind.
  package var family: Int32 {
    switch self {
    case .ipv4: AF_INET
    case .ipv6: AF_INET6
    case .unix: AF_UNIX
    case .vsock: AF_VSOCK
    }
  }

  /// Whether this is TCP.
  package var isTCP: Bool {
    switch self {
    case .ipv4, .ipv6: true
    case .unix, .vsock: false
    }
  }

  /// Whether it names no host: 0.0.0.0 or ::, IPv4-mapped or not.
  package var isUnspecified: Bool {
    switch self {
    case .ipv4(let address, _): address.allSatisfy { $0 == 0 }
    case .ipv6(let address, _, _):
      address.allSatisfy { $0 == 0 } || address.elementsEqual(Self.mappedUnspecified)
    case .unix, .vsock: false
    }
  }

  /// ::ffff:0.0.0.0 (RFC 4291, 2.5.5.2).
  private static let mappedUnspecified: [UInt8] =
    [UInt8](repeating: 0, count: 10) + [0xff, 0xff, 0, 0, 0, 0]

  /// The bare address as numbers, without port and brackets: "192.0.2.1", "2001:db8::1",
  /// "fe80::1%2"; the path of a Unix socket; the CID of a vsock.
  package var host: String {
    switch self {
    case .ipv4(let address, _): address.map { String($0) }.joined(separator: ".")
    case .ipv6(let address, _, let scope):
      Self.text(ipv6: address) + (scope == 0 ? "" : "%\(scope)")
    case .unix(let path): path.hasPrefix("\0") ? "@" + path.dropFirst() : path
    case .vsock(let cid, _): String(cid)
    }
  }

  /// The port of TCP or vsock.
  package var port: UInt32? {
    switch self {
    case .ipv4(_, let port), .ipv6(_, let port, _): UInt32(port)
    case .unix: nil
    case .vsock(_, let port): port
    }
  }

  private static func text(ipv6 address: [UInt8]) -> String {
    guard address.count == 16 else { return "?" }
    var text = [CChar](repeating: 0, count: 64)
    guard unsafe inet_ntop(AF_INET6, address, &text, socklen_t(text.count)) != nil else {
      return "?"
    }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Parses a numeric IPv4 or IPv6 address without any look-up; nil for anything else. A zone
  /// ("%eth0", "%2") is understood.
  package init?(numeric text: String, port: UInt16) {
    // inet_aton's short forms ("1", "127.1") are names to us: two spellings of one address would
    // let a host rule be talked round.
    let isFull = text.contains(":") || text.split(separator: ".").count == 4
    guard isFull, let found = try? addresses(of: text, port: port, flags: AI_NUMERICHOST) else {
      return nil
    }
    guard let first = found.first else { return nil }
    self = first
  }
}

extension SocketAddress: CustomStringConvertible {
  /// As numbers: "192.0.2.1:10809", "[2001:db8::1]:10809", "unix:/path", "vsock:2:10809".
  package var description: String {
    switch self {
    case .ipv4(_, let port): "\(host):\(port)"
    case .ipv6(_, let port, _): "[\(host)]:\(port)"
    case .unix: "unix:\(host)"
    case .vsock(let cid, let port): "vsock:\(cid):\(port)"
    }
  }
}

extension SocketAddress {
  /// Calls `body` with the kernel's form. Throws `fileNameTooLong` for a Unix path over 107 bytes.
  func withRaw<R>(
    _ body: (UnsafePointer<clinux_address>, socklen_t) throws(Errno) -> R
  ) throws(Errno) -> R {
    var raw = clinux_address()
    let length: socklen_t
    switch self {
    case .ipv4(let address, let port):
      guard address.count == 4 else { throw .invalidArgument }
      length = unsafe clinux_address_ipv4(&raw, address, port)
    case .ipv6(let address, let port, let scope):
      guard address.count == 16 else { throw .invalidArgument }
      length = unsafe clinux_address_ipv6(&raw, address, port, scope)
    case .unix(let path):
      let name = Array(path.utf8)
      length = unsafe clinux_address_unix(&raw, name, name.count)
      guard length > 0 else { throw name.isEmpty ? .invalidArgument : .fileNameTooLong }
    case .vsock(let cid, let port):
      length = unsafe clinux_address_vsock(&raw, cid, port)
    }
    return try unsafe body(&raw, length)
  }

  /// From the kernel's form; nil for a family unknown here.
  init?(raw: UnsafePointer<clinux_address>, length: socklen_t) {
    var bytes = [UInt8](repeating: 0, count: 108)
    var count = 0
    var port: UInt32 = 0
    var scope: UInt32 = 0
    let family = unsafe clinux_address_read(raw, length, &bytes, &count, &port, &scope)
    let used = Array(bytes.prefix(count))
    switch family {
    case AF_INET: self = .ipv4(address: used, port: UInt16(truncatingIfNeeded: port))
    case AF_INET6: self = .ipv6(address: used, port: UInt16(truncatingIfNeeded: port), scope: scope)
    case AF_UNIX: self = .unix(path: String(decoding: used, as: UTF8.self))
    case AF_VSOCK: self = .vsock(cid: scope, port: port)
    default: return nil
    }
  }

  /// The address at the other end of a connected socket.
  package static func peer(of socket: Int32) throws(Errno) -> SocketAddress {
    try unsafe query { raw, length in unsafe getpeername(socket, raw, length) }
  }

  /// The address of this end of a socket.
  package static func local(of socket: Int32) throws(Errno) -> SocketAddress {
    try unsafe query { raw, length in unsafe getsockname(socket, raw, length) }
  }

  private static func query(
    _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) throws(Errno) -> SocketAddress {
    var raw = clinux_address()
    var length = socklen_t(MemoryLayout<clinux_address>.size)
    // Not `&raw.any`: a member of a C union is a copy, as large as that member alone.
    let result = unsafe withUnsafeMutablePointer(to: &raw) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe call($0, &length) }
    }
    try check(result)
    guard let address = unsafe SocketAddress(raw: &raw, length: length) else {
      throw .addressFamilyNotSupported
    }
    return address
  }
}
