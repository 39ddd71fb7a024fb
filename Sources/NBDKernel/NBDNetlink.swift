// SPDX-License-Identifier: Apache-2.0
internal import CLinux
package import LinuxIO
internal import Synchronization
internal import SystemPackage

/// The driver's netlink interface. Every call uses a socket of its own, so any thread may call.
package struct NBDNetlink: Sendable {
  private static let sequence = Atomic<UInt32>(1)

  private let family: GenericNetlinkFamily

  /// Finds the driver, loading its module when it is not there. Throws `noDriver` when there is none,
  /// `noNetlink` when it has no netlink family (kernels before 4.12, some containers).
  package init(modules: KernelModules = KernelModules()) throws(KernelError) {
    if let found = try Self.resolve() {
      family = found
      return
    }
    // 6.1 has no alias from the family to the module: nobody loads it for us.
    modules.load("nbd")
    if let found = try Self.resolve() {
      family = found
      return
    }
    guard Sysfs().hasDriver else { throw .noDriver }
    throw KernelError(
      .noNetlink, "this kernel's nbd driver has no netlink interface", hint: "--binding ioctl")
  }

  private static func nextSequence() -> UInt32 {
    sequence.wrappingAdd(1, ordering: .relaxed).newValue
  }

  /// nil when the family is not registered.
  private static func resolve() throws(KernelError) -> GenericNetlinkFamily? {
    let number = nextSequence()
    do throws(NetlinkFailure) {
      let socket = try NetlinkSocket(protocol: NetlinkSocket.generic)
      let answer = try socket.transact(
        GenericNetlinkFamily.query(name: NBDMessage.familyName, sequence: number),
        sequence: number)
      do throws(NetlinkFormatError) {
        return try GenericNetlinkFamily(answer)
      } catch {
        throw NetlinkFailure.malformed(error.message)
      }
    } catch {
      switch error {
      case .refused(.noSuchFileOrDirectory, _): return nil
      case .system(let errno):
        throw KernelError(.noNetlink, "netlink is not available: \(errno)", errno: errno)
      case .refused(let errno, let text):
        throw KernelError(.noNetlink, text ?? "\(errno)", errno: errno)
      case .malformed(let text): throw KernelError(.malformed, "netlink: \(text)")
      }
    }
  }

  private func ask<T>(
    about device: DeviceIndex?, _ build: (UInt32) -> [UInt8],
    _ read: ([NetlinkMessage]) throws(NetlinkFormatError) -> T
  ) throws(KernelError) -> T {
    let number = Self.nextSequence()
    do throws(NetlinkFailure) {
      let socket = try NetlinkSocket(protocol: NetlinkSocket.generic)
      let answer = try socket.transact(build(number), sequence: number)
      do throws(NetlinkFormatError) {
        return try read(answer)
      } catch {
        throw NetlinkFailure.malformed(error.message)
      }
    } catch {
      throw Self.translate(error, device)
    }
  }

  /// What a refusal of the driver's means.
  static func translate(_ failure: NetlinkFailure, _ device: DeviceIndex?) -> KernelError {
    let name = device?.name ?? "the device"
    switch failure {
    case .malformed(let text): return KernelError(.malformed, "netlink: \(text)")
    case .system(.timedOut):
      return KernelError(.timedOut, "the kernel did not answer", errno: .timedOut)
    case .system(let errno): return KernelError(.refused, "netlink: \(errno)", errno: errno)
    case .refused(let errno, let text):
      let words = text.map { " (\($0))" } ?? ""
      switch errno {
      case .notPermitted, .permissionDenied:
        return KernelError(
          .notPermitted, "only root may do this", hint: KernelError.rootHint, errno: errno)
      case .resourceBusy:
        return KernelError(
          .busy, "\(name) is in use already\(words)",
          hint: device == nil ? nil : "leave out --device to get a free one", errno: errno)
      case .operationNotSupportedByDevice, .noSuchAddressOrDevice, .noSuchFileOrDirectory:
        return KernelError(.noSuchDevice, "there is no \(name)\(words)", errno: errno)
      default: return KernelError(.refused, "\(errno)\(words)", errno: errno)
      }
    }
  }

  /// Connects a device to sockets that are in the transmission phase; the kernel takes references of
  /// its own to them. With no device given it picks a free one. Throws `busy` for a taken one.
  package func connect(
    device: DeviceIndex?, _ parameters: DeviceParameters, sockets: [Int32]
  ) throws(KernelError) -> DeviceIndex {
    try parameters.check(maximumBlockSize: KernelSupport.maximumBlockSize)
    return try ask(about: device) { number in
      NBDMessage.connect(
        family: family.identifier, sequence: number, index: device, parameters: parameters,
        sockets: sockets)
    } _: { (answer) throws(NetlinkFormatError) in
      try NBDMessage.connected(answer, family: family.identifier)
    }
  }

  /// Gives new sockets for dead ones. The kernel says nothing when no socket was dead: the caller
  /// shuts the old ones down first. The backend identifier must be that of `connect`.
  package func reconfigure(
    device: DeviceIndex, _ parameters: DeviceParameters, sockets: [Int32]
  ) throws(KernelError) {
    try ask(about: device) { number in
      NBDMessage.reconfigure(
        family: family.identifier, sequence: number, index: device, parameters: parameters,
        sockets: sockets)
    } _: { _ in
    }
  }

  /// Asks the driver to disconnect. It sends NBD_CMD_DISC and waits for its receivers, which a stuck
  /// socket can hold up: past the deadline this throws `timedOut` and leaves the kernel to it.
  package func disconnect(device: DeviceIndex, until deadline: Deadline) throws(KernelError) {
    let outcome = try Outcome(device)
    do throws(Errno) {
      try spawnDetachedThread(name: "disconnect") {
        do throws(KernelError) {
          try disconnect(device: device)
          outcome.finish(nil)
        } catch {
          outcome.finish(error)
        }
      }
      try outcome.done.wait(until: deadline)
    } catch {
      if error == .timedOut {
        throw KernelError(.timedOut, "\(device) did not disconnect in time", errno: error)
      }
      throw KernelError(.refused, "\(error)", errno: error)
    }
    if let error = outcome.error { throw error }
  }

  /// Asks the driver to disconnect, and waits as long as it takes.
  package func disconnect(device: DeviceIndex) throws(KernelError) {
    do throws(KernelError) {
      try ask(about: device) { number in
        NBDMessage.disconnect(family: family.identifier, sequence: number, index: device)
      } _: { _ in
      }
    } catch {
      // The driver has one errno for no such device and for none connected.
      guard error.errno == .invalidArgument, !Sysfs().isConnected(device) else { throw error }
      throw KernelError(
        .noSuchDevice,
        Sysfs().exists(device) ? "\(device) is not connected" : "there is no \(device)",
        errno: error.errno)
    }
  }

  /// Whether a device that is configured still has its connection: after a disconnect it is
  /// configured until its last user has closed it, and can neither be used nor be taken over.
  package func isBound(device: DeviceIndex, backend: String) throws(KernelError) -> Bool {
    do throws(KernelError) {
      try ask(about: device) { number in
        NBDMessage.inquiry(
          family: family.identifier, sequence: number, index: device, backend: backend)
      } _: { _ in
      }
      return true
    } catch {
      guard error.errno == .invalidArgument else { throw error }
      return false
    }
  }

  /// Which devices are configured. Being configured does not mean that the link lives.
  package func status() throws(KernelError) -> [DeviceIndex: Bool] {
    try ask(about: nil) { number in
      NBDMessage.status(family: family.identifier, sequence: number, index: nil)
    } _: { (answer) throws(NetlinkFormatError) in
      try NBDMessage.statuses(answer, family: family.identifier)
    }
  }

  /// Subscribes to the driver's events.
  package func linkEvents() throws(KernelError) -> LinkEvents {
    guard let group = family.groups[NBDMessage.groupName] else {
      throw KernelError(.noNetlink, "this kernel's nbd driver tells no events")
    }
    do throws(NetlinkFailure) {
      return try LinkEvents(family: family.identifier, group: group)
    } catch {
      throw Self.translate(error, nil)
    }
  }
}

private final class Outcome: Sendable {
  let done: EventSignal
  private let result = Mutex<KernelError?>(nil)

  init(_ device: DeviceIndex) throws(KernelError) {
    do throws(Errno) {
      done = try EventSignal()
    } catch {
      throw KernelError(.refused, "\(error)", errno: error)
    }
  }

  var error: KernelError? { result.withLock { $0 } }

  func finish(_ error: KernelError?) {
    result.withLock { $0 = error }
    done.signal()
  }
}
