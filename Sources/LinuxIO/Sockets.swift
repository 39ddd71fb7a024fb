// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// How a dead TCP peer is noticed while the connection is idle.
package enum Keepalive {
  /// Seconds of silence before the first probe.
  package static let idleSeconds: Int32 = 10
  /// Seconds between probes.
  package static let intervalSeconds: Int32 = 5
  /// Unanswered probes until the connection counts as dead.
  package static let probes: Int32 = 3
}

/// Connects a stream socket. The result is non-blocking; on TCP without Nagle's delay and with
/// keepalive. Throws `timedOut` when the deadline passes.
package func connectStream(
  to address: SocketAddress, deadline: Deadline
) throws(Errno) -> Descriptor {
  let socket = try streamSocket(family: address.family)
  if address.isTCP { try tuneTCP(socket.raw) }
  while true {
    let result = try unsafe address.withRaw { (raw, length) throws(Errno) -> Int32 in
      unsafe raw.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(socket.raw, $0, length) == 0 ? 0 : Glibc.errno
      }
    }
    switch result {
    case 0, EISCONN: return socket
    case EAGAIN:
      // A Unix listener whose backlog is full: there is nothing to poll for.
      if deadline.hasPassed { throw .timedOut }
      sleep(seconds: 0.01, until: deadline)
    case EINPROGRESS, EALREADY, EINTR:
      try wait(socket, for: .write, until: deadline)
      var failed: Int32 = 0
      try unsafe check(
        clinux_getsockopt_int(socket.raw, SOL_SOCKET, clinux_so_error, &failed))
      guard failed == 0 else { throw Errno(rawValue: failed) }
      return socket
    default: throw Errno(rawValue: result)
    }
  }
}

/// A new non-blocking stream socket.
func streamSocket(family: Int32) throws(Errno) -> Descriptor {
  let type =
    Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
  return try Descriptor(checking: socket(family, type, 0))
}

func tuneTCP(_ socket: Int32) throws(Errno) {
  let tcp = clinux_ipproto_tcp
  try check(clinux_setsockopt_int(socket, tcp, clinux_tcp_nodelay, 1))
  try check(clinux_setsockopt_int(socket, SOL_SOCKET, clinux_so_keepalive, 1))
  try check(clinux_setsockopt_int(socket, tcp, clinux_tcp_keepidle, Keepalive.idleSeconds))
  try check(clinux_setsockopt_int(socket, tcp, clinux_tcp_keepintvl, Keepalive.intervalSeconds))
  try check(clinux_setsockopt_int(socket, tcp, clinux_tcp_keepcnt, Keepalive.probes))
}

/// TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged before the connection is dead.
package func setUserTimeout(_ socket: Int32, seconds: Double) throws(Errno) {
  let milliseconds = Int32(min(max(seconds * 1000, 0), Double(Int32.max / 2)))
  try check(
    clinux_setsockopt_int(socket, clinux_ipproto_tcp, clinux_tcp_user_timeout, milliseconds))
}

/// Sizes of a socket's kernel buffers, past the host's limit where we may, else up to it.
package func setBufferSizes(_ socket: Int32, send: Int32?, receive: Int32?) throws(Errno) {
  if let send,
    clinux_setsockopt_int(socket, SOL_SOCKET, clinux_so_sndbufforce, send) < 0
  {
    try check(clinux_setsockopt_int(socket, SOL_SOCKET, clinux_so_sndbuf, send))
  }
  if let receive,
    clinux_setsockopt_int(socket, SOL_SOCKET, clinux_so_rcvbufforce, receive) < 0
  {
    try check(clinux_setsockopt_int(socket, SOL_SOCKET, clinux_so_rcvbuf, receive))
  }
}

/// Two connected Unix stream sockets, both non-blocking.
@frozen
package struct SocketPair: ~Copyable {
  package var first: Descriptor
  package var second: Descriptor

  /// Makes a pair; a buffer size applies to both ends.
  package init(sendBuffer: Int32? = nil, receiveBuffer: Int32? = nil) throws(Errno) {
    var pair: [Int32] = [-1, -1]
    let type =
      Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    try unsafe check(socketpair(AF_UNIX, type, 0, &pair))
    let (one, other) = (pair[0], pair[1])
    do {
      try setBufferSizes(one, send: sendBuffer, receive: receiveBuffer)
      try setBufferSizes(other, send: sendBuffer, receive: receiveBuffer)
    } catch {
      _ = (Glibc.close(one), Glibc.close(other))
      throw error
    }
    first = Descriptor(owning: one)
    second = Descriptor(owning: other)
  }
}

/// Listens on a Unix socket at `path`, which must not exist. Its file is never more open than `mode`:
/// bind(2) takes the socket's own mode for it, less the umask; and nobody can connect before
/// listen(2).
package func listenUnix(
  path: String, mode: UInt32 = 0o600, backlog: Int32 = 128
) throws(Errno) -> Descriptor {
  let socket = try streamSocket(family: AF_UNIX)
  try check(fchmod(socket.raw, mode))
  try bind(socket.raw, to: .unix(path: path))
  do {
    if !path.hasPrefix("\0") { try unsafe check(chmod(path, mode)) }
    try check(listen(socket.raw, backlog))
  } catch {
    _ = unsafe unlink(path)
    throw error
  }
  return socket
}

/// Listens on TCP; port 0 lets the kernel choose one.
package func listenTCP(at address: SocketAddress, backlog: Int32 = 128) throws(Errno) -> Descriptor
{
  let socket = try streamSocket(family: address.family)
  try bind(socket.raw, to: address)
  try check(listen(socket.raw, backlog))
  return socket
}

private func bind(_ socket: Int32, to address: SocketAddress) throws(Errno) {
  _ = try unsafe address.withRaw { (raw, length) throws(Errno) -> Int32 in
    try unsafe check(
      raw.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe Glibc.bind(socket, $0, length)
      })
  }
}

/// The next connection of a listener, non-blocking; nil when none waits.
package func acceptConnection(_ listener: Int32) throws(Errno) -> Descriptor? {
  while true {
    let result = clinux_accept(listener)
    if result >= 0 { return Descriptor(owning: result) }
    switch Glibc.errno {
    case EAGAIN: return nil
    case EINTR, ECONNABORTED: continue
    default: throw lastErrno()
    }
  }
}
