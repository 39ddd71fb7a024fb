// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel
import Synchronization

/// How an attachment is bound to a kernel device.
protocol DeviceBinding: AnyObject {
  var device: DeviceIndex { get }
  /// Readable when the kernel has something to tell.
  var eventDescriptor: Int32 { get }
  /// Whether dead sockets can be replaced.
  var replacesSockets: Bool { get }
  /// Takes the news behind `eventDescriptor`.
  func takeEvents() -> DeviceEvents
  /// Gives the kernel new sockets for dead ones.
  func replace(sockets: [Int32]) throws(KernelError)
  /// Makes the kernel send NBD_CMD_DISC and let go of the device.
  func disconnect() throws(KernelError)
}

/// News of a device.
struct DeviceEvents {
  /// A socket of the device was declared dead.
  var linkDead = false
  /// The kernel let go of the device.
  var ended = false
}

/// The netlink interface: devices outlive their supervisor, and dead sockets can be replaced.
final class NetlinkDevice: DeviceBinding {
  let device: DeviceIndex
  private let netlink: NBDNetlink
  private let events: LinkEvents
  private let parameters: DeviceParameters
  /// How many the device was given; 0 where it kept those that it had.
  private let connections: Int

  /// Connects a device, or takes over one that lost its supervisor.
  ///
  /// - Parameters:
  ///   - wanted: the device to use; nil lets the kernel pick.
  ///   - adopting: the device to take over.
  init(
    wanted: DeviceIndex?, adopting: DeviceIndex?, parameters: DeviceParameters, sockets: [Int32],
    netlink: NBDNetlink
  ) throws(KernelError) {
    self.netlink = netlink
    self.parameters = parameters
    connections = sockets.count
    events = try netlink.linkEvents()
    if let adopting {
      device = adopting
      // Without new sockets those that it has stay.
      if !sockets.isEmpty { try replace(sockets: sockets) }
    } else {
      device = try netlink.connect(device: wanted, parameters, sockets: sockets)
    }
  }

  var eventDescriptor: Int32 { events.descriptor.raw }
  var replacesSockets: Bool { true }

  func takeEvents() -> DeviceEvents {
    var found = DeviceEvents()
    let news = (try? events.next()) ?? []
    found.linkDead = news.contains(.linkDead(device)) || news.contains(.overflow)
    found.ended = !Sysfs().isConnected(device)
    return found
  }

  func replace(sockets: [Int32]) throws(KernelError) {
    Receivers(device).settle(to: max(0, connections - sockets.count))
    try netlink.reconfigure(device: device, parameters, sockets: sockets)
  }

  func disconnect() throws(KernelError) { try netlink.disconnect(device: device) }
}

/// The ioctl interface: the device lives in an ioctl of this process, and dies with it.
final class IoctlDevice: DeviceBinding {
  let device: DeviceIndex
  private let binding: IoctlBinding
  private let running: Running

  /// Configures a device and runs it on a thread of its own.
  init(
    device: DeviceIndex, parameters: DeviceParameters, sockets: [Int32]
  ) throws(KernelError) {
    self.device = device
    let binding = try IoctlBinding(device: device)
    self.binding = binding
    try binding.configure(parameters, sockets: sockets)
    do { running = Running(ended: try EventSignal()) } catch {
      binding.clear()
      throw KernelError(.refused, "cannot make an event descriptor: \(error)", errno: error)
    }
    let running = running
    do {
      try spawnDetachedThread(name: "nbd") {
        try? binding.run()
        running.finish()
      }
    } catch {
      binding.clear()
      throw KernelError(.refused, "cannot start a thread: \(error)", errno: error)
    }
  }

  private final class Running: Sendable {
    private let isOver = Atomic<Bool>(false)
    let ended: EventSignal
    init(ended: consuming EventSignal) { self.ended = ended }
    var over: Bool { isOver.load(ordering: .acquiring) }
    func finish() {
      isOver.store(true, ordering: .releasing)
      ended.signal()
    }
  }

  var eventDescriptor: Int32 { running.ended.descriptor.raw }
  var replacesSockets: Bool { false }

  func takeEvents() -> DeviceEvents { DeviceEvents(linkDead: false, ended: running.over) }

  func replace(sockets: [Int32]) throws(KernelError) {
    throw KernelError(.refused, "a device bound by ioctls cannot get new sockets")
  }

  func disconnect() throws(KernelError) { try binding.disconnect() }
}
