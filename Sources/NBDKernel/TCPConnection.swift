// SPDX-License-Identifier: Apache-2.0
internal import Glibc
package import LinuxIO
internal import SystemPackage

/// A TCP connection that outlives our descriptor of it: under kernel TLS the driver alone holds it.
package struct TCPConnection: Hashable, Sendable {
  /// What the kernel says about it.
  package enum State: Hashable, Sendable {
    case established
    /// Still there, but one side has ended it.
    case closing
    /// Not there, or another connection under the same numbers.
    case gone
  }

  package let local: SocketAddress
  package let peer: SocketAddress
  /// The socket's inode number, which tells it from a later one with the same addresses.
  package let inode: UInt64

  /// From what was recorded.
  package init(local: SocketAddress, peer: SocketAddress, inode: UInt64) {
    self.local = local
    self.peer = peer
    self.inode = inode
  }

  /// Records the connection behind a socket.
  package init(of socket: Int32) throws(KernelError) {
    do throws(Errno) {
      local = try .local(of: socket)
      peer = try .peer(of: socket)
      inode = try FileFacts(of: socket).inode
    } catch {
      throw KernelError(.refused, "the socket tells no addresses: \(error)", errno: error)
    }
  }

  /// Asks the kernel, by sock_diag, or where its module is missing by /proc/net/tcp.
  package func state() throws(KernelError) -> State {
    if let answer = try query() { return answer }
    // ENOENT is both "no such socket" and "no tcp_diag module".
    return procState()
  }

  /// Ends it from outside, as a reset would, whoever holds it (SOCK_DESTROY, which needs a kernel
  /// with CONFIG_INET_DIAG_DESTROY, the module tcp_diag, and CAP_NET_ADMIN).
  ///
  /// - Returns: whether it has ended; false where the kernel cannot.
  package func destroy() -> Bool {
    // Another connection under the same numbers is not ours to end.
    guard let now = try? state() else { return false }
    guard now == .established else { return true }
    guard let request = Self.request(Self.destroyType, local: local, peer: peer, sequence: 1)
    else { return false }
    do throws(NetlinkFailure) {
      _ = try NetlinkSocket(protocol: NetlinkSocket.diagnosis).transact(request, sequence: 1)
      return true
    } catch { return false }
  }

  private static let established: UInt8 = 1  // TCP_ESTABLISHED
  private static let queryType: UInt16 = 20  // SOCK_DIAG_BY_FAMILY
  private static let destroyType: UInt16 = 21  // SOCK_DESTROY

  func judge(state: UInt8, inode found: UInt64) -> State {
    guard found == inode else { return .gone }
    return state == Self.established ? .established : .closing
  }

  private func query() throws(KernelError) -> State? {
    guard let request = Self.request(Self.queryType, local: local, peer: peer, sequence: 1) else {
      return .gone
    }
    do throws(NetlinkFailure) {
      let socket = try NetlinkSocket(protocol: NetlinkSocket.diagnosis)
      let answers = try socket.transact(request, sequence: 1)
      guard let found = answers.lazy.compactMap({ Self.parse($0) }).first else { return .gone }
      return judge(state: found.state, inode: found.inode)
    } catch {
      switch error {
      case .refused(.noSuchFileOrDirectory, _): return nil
      // No sock_diag here at all.
      case .system(.protocolNotSupported), .refused(.invalidArgument, _): return nil
      default: throw NBDNetlink.translate(error, nil)
      }
    }
  }

  /// A request about one socket (struct inet_diag_req_v2).
  static func request(
    _ type: UInt16, local: SocketAddress, peer: SocketAddress, sequence: UInt32
  ) -> [UInt8]? {
    guard let from = words(local), let to = words(peer), local.family == peer.family else {
      return nil
    }
    var builder = NetlinkBuilder(type: type, sequence: sequence)
    builder.append([UInt8(local.family), UInt8(IPPROTO_TCP), 0, 0])
    builder.append([0xff, 0xff, 0xff, 0xff])  // any state
    builder.append(from.port + to.port + from.address + to.address)
    builder.append([UInt8](repeating: 0, count: 4))  // any interface
    builder.append([UInt8](repeating: 0xff, count: 8))  // INET_DIAG_NOCOOKIE
    return builder.finished
  }

  private static func words(_ address: SocketAddress) -> (address: [UInt8], port: [UInt8])? {
    func big(_ port: UInt16) -> [UInt8] { [UInt8(port >> 8), UInt8(port & 0xff)] }
    switch address {
    case .ipv4(let bytes, let port):
      guard bytes.count == 4 else { return nil }
      return (bytes + [UInt8](repeating: 0, count: 12), big(port))
    case .ipv6(let bytes, let port, _):
      guard bytes.count == 16 else { return nil }
      return (bytes, big(port))
    case .unix, .vsock: return nil
    }
  }

  /// State and inode of struct inet_diag_msg.
  static func parse(_ message: NetlinkMessage) -> (state: UInt8, inode: UInt64)? {
    guard message.type == queryType, message.payload.count >= 72,
      let inode = NativeBytes.uint32(message.payload[...], at: 68)
    else { return nil }
    return (message.payload[1], UInt64(inode))
  }

  private func procState() -> State {
    let path = local.family == AF_INET6 ? "/proc/net/tcp6" : "/proc/net/tcp"
    guard let table = try? readFile(path, limit: 16 << 20).bytes else { return .gone }
    return find(in: String(decoding: table, as: UTF8.self))
  }

  /// Looks the inode up in the text of /proc/net/tcp: state in the fourth column, inode in the tenth.
  func find(in table: String) -> State {
    for line in table.split(separator: "\n").dropFirst() {
      let columns = line.split(separator: " ", omittingEmptySubsequences: true)
      guard columns.count >= 10, UInt64(columns[9]) == inode else { continue }
      return UInt8(columns[3], radix: 16) == Self.established ? .established : .closing
    }
    return .gone
  }
}
