// SPDX-License-Identifier: Apache-2.0
internal import CLinux
package import LinuxIO
internal import SystemPackage

/// The driver's multicast: which devices have lost a connection.
package struct LinkEvents: ~Copyable, Sendable {
  /// What came.
  package enum Event: Hashable, Sendable {
    /// NBD_CMD_LINK_DEAD: a connection of this device is dead. With several connections each tells
    /// for itself.
    case linkDead(DeviceIndex)
    /// The kernel had more to tell than the socket could hold: any device may be concerned.
    case overflow
  }

  /// To poll for reading.
  package let descriptor: Descriptor
  private let family: UInt16

  init(family: UInt16, group: UInt32) throws(NetlinkFailure) {
    let socket = try NetlinkSocket(protocol: NetlinkSocket.generic)
    guard clinux_netlink_join(socket.descriptor.raw, group) == 0 else {
      throw .system(Errno.last)
    }
    do throws(Errno) {
      descriptor = try socket.descriptor.duplicate()
    } catch {
      throw .system(error)
    }
    self.family = family
  }

  /// The events that wait, empty when there is none.
  package borrowing func next() throws(KernelError) -> [Event] {
    let messages: [NetlinkMessage]
    do throws(NetlinkFailure) {
      messages = try NetlinkSocket.receive(from: descriptor.raw) ?? []
    } catch .system(.noBufferSpace) {
      return [.overflow]
    } catch {
      throw NBDNetlink.translate(error, nil)
    }
    do throws(NetlinkFormatError) {
      return try NBDMessage.deadLinks(messages, family: family).map { .linkDead($0) }
    } catch {
      throw KernelError(.malformed, "netlink: \(error.message)")
    }
  }
}
