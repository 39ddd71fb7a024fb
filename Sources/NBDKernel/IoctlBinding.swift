// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
internal import LinuxIO
package import SystemPackage

/// The driver's ioctls, of one open device. A seam, so that the choices made on their results can be
/// tested without a kernel.
package protocol NBDControl: Sendable {
  /// Carries out one ioctl; 0, or the errno. `doIt` blocks until the device is disconnected.
  func perform(_ request: NBDControlRequest) -> Errno?
}

/// One ioctl with its argument.
package enum NBDControlRequest: Hashable, Sendable {
  case setSocket(Int32)
  case setBlockSize(UInt32)
  case setSizeInBlocks(UInt64)
  case setFlags(UInt16)
  /// BLKROSET
  case setReadOnly(Bool)
  case setTimeout(seconds: UInt64)
  case doIt
  case clearQueue
  case clearSocket
  case disconnect
}

/// An open /dev/nbdN.
private final class DeviceFile: NBDControl {
  private let file: Descriptor

  init(_ file: consuming Descriptor) { self.file = file }

  func perform(_ request: NBDControlRequest) -> Errno? {
    let result =
      switch request {
      case .setSocket(let socket): control(clinux_nbd_set_sock, UInt(bitPattern: Int(socket)))
      case .setBlockSize(let bytes): control(clinux_nbd_set_blksize, UInt(bytes))
      case .setSizeInBlocks(let count): control(clinux_nbd_set_size_blocks, UInt(count))
      case .setFlags(let flags): control(clinux_nbd_set_flags, UInt(flags))
      case .setReadOnly(let on): setReadOnly(on)
      case .setTimeout(let seconds): control(clinux_nbd_set_timeout, UInt(seconds))
      case .doIt: control(clinux_nbd_do_it, 0)
      case .clearQueue: control(clinux_nbd_clear_que, 0)
      case .clearSocket: control(clinux_nbd_clear_sock, 0)
      case .disconnect: control(clinux_nbd_disconnect, 0)
      }
    return result < 0 ? Errno.last : nil
  }

  private func control(_ request: UInt, _ argument: UInt) -> Int32 {
    clinux_ioctl(file.raw, request, argument)
  }

  private func setReadOnly(_ on: Bool) -> Int32 {
    var value: Int32 = on ? 1 : 0
    return unsafe clinux_ioctl_pointer(file.raw, clinux_blkroset, &value)
  }
}

/// A device connected by ioctls, for kernels and containers without the netlink family.
///
/// `configure` and `run` belong on one thread, which then is the device's: the driver remembers it,
/// and the device ends with it. `disconnect` may come from any other.
package struct IoctlBinding: Sendable {
  private let control: any NBDControl
  private let name: String

  /// With a stand-in for the driver.
  package init(control: any NBDControl, name: String) {
    self.control = control
    self.name = name
  }

  /// Opens the device.
  package init(device: DeviceIndex) throws(KernelError) {
    do throws(Errno) {
      control = DeviceFile(try openFile(device.path, flags: O_RDWR))
      name = device.name
    } catch {
      throw Self.explain(error, device.name)
    }
  }

  private static func explain(_ errno: Errno, _ name: String) -> KernelError {
    switch errno {
    case .noSuchFileOrDirectory, .operationNotSupportedByDevice, .noSuchAddressOrDevice:
      Sysfs().hasDriver
        ? KernelError(.noSuchDevice, "there is no \(name)", errno: errno) : .noDriver
    case .permissionDenied, .notPermitted:
      KernelError(
        .notPermitted, "only root may connect \(name)", hint: KernelError.rootHint, errno: errno)
    case .resourceBusy:
      KernelError(
        .busy, "\(name) is in use already", hint: "leave out --device to get a free one",
        errno: errno)
    default: KernelError(.refused, "\(name): \(errno)", errno: errno)
    }
  }

  /// Tells the driver everything, and gives it the sockets. On failure the device is left as it was.
  package func configure(
    _ parameters: DeviceParameters, sockets: [Int32],
    maximumBlockSize: UInt32 = KernelSupport.maximumBlockSize
  ) throws(KernelError) {
    try parameters.check(maximumBlockSize: maximumBlockSize)
    // The argument is an unsigned long, 32 bits wide on some machines.
    let blocks = parameters.size / UInt64(parameters.blockSize)
    guard blocks <= UInt64(UInt.max) else {
      throw KernelError(
        .unsupported, "a size of \(parameters.size) bytes is too large for the kernel")
    }
    // Nothing is cleared first: NBD_CLEAR_SOCK would cut off whoever uses the device now.
    // A first socket that is refused was not ours to clear either.
    var ours = false
    do throws(Errno) {
      for socket in sockets {
        try perform(.setSocket(socket))
        ours = true
      }
      try perform(.setBlockSize(parameters.blockSize))
      try perform(.setSizeInBlocks(blocks))
      // Kernels before 2.6.39 know no flags; all that matters then is that writes are refused.
      if control.perform(.setFlags(parameters.flags)) != nil {
        try perform(.setReadOnly(parameters.isReadOnly))
      }
      try perform(.setTimeout(seconds: parameters.timeoutSeconds))
    } catch {
      if ours { clear() }
      throw Self.explain(error, name)
    }
  }

  private func perform(_ request: NBDControlRequest) throws(Errno) {
    if let error = control.perform(request) { throw error }
  }

  /// Serves the device until it is disconnected or its link is lost, then lets go of it.
  /// That the driver reports EPIPE after a disconnect is no error.
  package func run() throws(KernelError) {
    let ended = control.perform(.doIt)
    clear()
    if let ended, ended != .brokenPipe { throw Self.explain(ended, name) }
  }

  /// Drops the queue and the sockets.
  package func clear() {
    _ = control.perform(.clearQueue)
    _ = control.perform(.clearSocket)
  }

  /// Makes `run` return: the driver sends NBD_CMD_DISC and ends.
  package func disconnect() throws(KernelError) {
    do throws(Errno) {
      try perform(.disconnect)
    } catch {
      throw Self.explain(error, name)
    }
  }
}
