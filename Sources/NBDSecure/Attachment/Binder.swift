// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel
import NBDProtocol

/// Chooses the kernel interface and the device.
struct Binder {
  /// The kernel interface in use.
  enum Kind: String { case netlink, ioctl }

  let kind: Kind
  private let netlink: NBDNetlink?
  private let wanted: DeviceIndex?
  private let request: AttachRequest
  private let identifier: String

  /// Looks for what the request asks for.
  ///
  /// - Throws: `NBDSecureError` with `.kernel` without a driver, `.usage` for a device's name that
  ///   is none.
  init(
    request: AttachRequest, identifier: String
  ) throws(NBDSecureError) {
    self.request = request
    self.identifier = identifier
    wanted = try request.device.map { text throws(NBDSecureError) in try deviceIndex(text) }
    do throws(KernelError) {
      switch request.binding {
      case .ioctl:
        (kind, netlink) = (.ioctl, nil)
      case .netlink:
        (kind, netlink) = (.netlink, try NBDNetlink())
      case .auto:
        do throws(KernelError) {
          (kind, netlink) = (.netlink, try NBDNetlink())
        } catch {
          guard error.kind == .noNetlink else { throw error }
          (kind, netlink) = (.ioctl, nil)
        }
      }
    } catch { throw NBDSecureError(error) }
    if let wanted { try Self.checkPresence(of: wanted) }
  }

  /// Netlink would make any device that is named, and a slip of the pen is no wish for one.
  static func checkPresence(of device: DeviceIndex) throws(NBDSecureError) {
    let sysfs = Sysfs()
    guard sysfs.hasDriver, !sysfs.exists(device) else { return }
    throw NBDSecureError(
      .kernel, "--device \(device.name): there is no such device",
      hint:
        "leave it out to get a free one, or have more: modprobe nbd nbds_max=\(device.rawValue + 1)"
    )
  }

  /// A device of this attachment whose supervisor is dead; nil when there is none.
  ///
  /// - Throws: `NBDSecureError` with `.kernel` where another device or binding was asked for.
  func deviceToAdopt() throws(NBDSecureError) -> DeviceIndex? {
    guard let found = Presence().device(identifier) else { return nil }
    guard kind == .netlink else {
      throw NBDSecureError(
        .kernel,
        "\(request.connection.endpoint): attached already as \(found.path), over netlink",
        hint: "leave out --binding ioctl, or detach it first: nbd-secure detach \(found.name)")
    }
    if let wanted, wanted != found {
      throw NBDSecureError(
        .kernel, "\(request.connection.endpoint): attached already as \(found.path)",
        hint: "leave out --device, or detach it first: nbd-secure detach \(found.name)")
    }
    return found
  }

  /// Binds a device to the sockets, which the caller still owns.
  func bind(
    plan: DevicePlan, path: DataPathChoice, sockets: [Int32], adopting: DeviceIndex?,
    warn: (String) -> Void
  ) throws(NBDSecureError) -> any DeviceBinding {
    let parameters = DeviceParameters(
      size: plan.size, blockSize: plan.blockSize, flags: plan.flags.rawValue,
      // A relay notices a lost server first, the kernel only a lost relay.
      timeoutSeconds: UInt64(
        ((path == .relay ? 2 : 1) * request.ioTimeout).rounded(.up)),
      deadConnTimeoutSeconds: UInt64(request.reconnectTimeout.rounded(.up)),
      backendIdentifier: identifier)
    do throws(KernelError) {
      if let netlink {
        return try NetlinkDevice(
          wanted: wanted, adopting: adopting, parameters: parameters, sockets: sockets,
          netlink: netlink)
      }
      let device = try bindByIoctl(parameters, sockets)
      warn("a device bound by ioctls ends with this process: it cannot be adopted after a crash")
      return device
    } catch { throw NBDSecureError(error) }
  }

  /// The ioctl interface picks no device: the first free one is tried, and the next where another
  /// process was faster.
  private func bindByIoctl(
    _ parameters: DeviceParameters, _ sockets: [Int32]
  ) throws(KernelError) -> any DeviceBinding {
    if let wanted {
      return try IoctlDevice(device: wanted, parameters: parameters, sockets: sockets)
    }
    KernelModules().load("nbd")
    let sysfs = Sysfs()
    guard sysfs.hasDriver else { throw .noDriver }
    for device in sysfs.devices() where !sysfs.isConnected(device) {
      do throws(KernelError) {
        return try IoctlDevice(device: device, parameters: parameters, sockets: sockets)
      } catch {
        guard error.kind == .busy else { throw error }
      }
    }
    throw KernelError(.busy, "no free nbd device", hint: "load the nbd module with nbds_max=N")
  }
}

/// A device's name as users write it.
func deviceIndex(_ text: String) throws(NBDSecureError) -> DeviceIndex {
  guard !text.isEmpty else { throw usage("the device: must not be empty") }
  guard let index = DeviceIndex(text) else {
    throw usage("\(text): not an nbd device", hint: "devices are called nbd0 or /dev/nbd0")
  }
  return index
}
