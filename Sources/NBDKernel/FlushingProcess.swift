// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import LinuxIO
internal import SystemPackage

/// A process that opens a device, so that the kernel reads its partition table if it is new, flushes
/// it, and holds it exclusively for as long as this value lives.
///
/// A flush whose server is silent sleeps where no signal reaches it, and a process ends only with all
/// its threads: what must not wait for it leaves it to a process of its own.
package struct FlushingProcess: ~Copyable {
  /// Its name in /proc/PID/comm.
  package static let name = "nbd-flush"

  private let channel: Descriptor
  private let identifier: Int32
  /// It has said how it went, and sleeps nowhere any more.
  private var hasAnswered = false

  /// - Parameter writesBack: whether there can be anything to flush; else the device is only held.
  package init(_ device: DeviceIndex, writesBack: Bool) throws(KernelError) {
    var pid: pid_t = 0
    let socket = unsafe clinux_flush_apart(device.path, writesBack ? 1 : 0, &pid)
    guard socket >= 0 else {
      let error = Errno.last
      throw KernelError(.refused, "cannot start a process: \(error)", errno: error)
    }
    channel = Descriptor(owning: socket)
    identifier = pid
  }

  deinit {
    // One that sleeps in the kernel dies when its server answers or the device goes.
    _ = kill(identifier, SIGKILL)
    _ = clinux_wait(identifier, hasAnswered ? 0 : 1)
  }

  /// Waits until all is written.
  ///
  /// - Throws: `KernelError`; `.busy` where someone else holds the device, `.timedOut`.
  package mutating func wait(until deadline: Deadline) throws(KernelError) {
    var result: Int32 = 0
    do throws(Errno) {
      try LinuxIO.wait(channel, for: .read, until: deadline)
      let got = unsafe read(channel.raw, &result, MemoryLayout<Int32>.size)
      guard got == MemoryLayout<Int32>.size else { throw Errno.ioError }
    } catch {
      throw KernelError(
        error == .timedOut ? .timedOut : .refused, "the device cannot be flushed: \(error)",
        errno: error)
    }
    hasAnswered = true
    guard result != 0 else { return }
    let error = Errno(rawValue: result)
    throw error == .resourceBusy
      ? KernelError(.busy, "the device is in use", errno: error)
      : KernelError(.refused, "the device cannot be flushed: \(error)", errno: error)
  }
}
