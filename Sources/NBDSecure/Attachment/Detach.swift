// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDKernel
import Synchronization
import SystemPackage

/// Detaches devices: flush, disconnect, wait until the kernel and the supervisor have let go.
public enum Detach {
  /// How long a detach may take, seconds.
  public static let patience: Double = 30

  /// Detaches one device.
  ///
  /// - Parameters:
  ///   - text: `nbd0` or `/dev/nbd0`.
  ///   - force: detach it in use, or with a dead server: nothing is flushed, and the device is
  ///     never opened. What was not written is lost.
  /// - Returns: Whether it was attached.
  /// - Throws: `NBDSecureError`: `.usage`, `.kernel` where it is in use, `.timedOut`.
  public static func detach(_ text: String, force: Bool) throws(NBDSecureError) -> Bool {
    let device = try deviceIndex(text)
    guard ThisProcess.effectiveUser == 0 else {
      throw NBDSecureError(.kernel, "detaching needs root", hint: "run it as root")
    }
    let directory = StateDirectory.standard
    let sysfs = Sysfs()
    let state = directory.read(device.name)
    guard sysfs.isConnected(device) else {
      guard sysfs.exists(device) || state != nil else {
        throw NBDSecureError(
          .kernel, "\(device.path): there is no such device",
          hint: "nbd-secure status lists what is attached")
      }
      if let state, !directory.isSupervised(state.identifier) {
        directory.removeLeftovers(of: state)
      }
      return false
    }
    let deadline = Deadline.after(seconds: patience)
    if force {
      try disconnectByForce(device, state: state, directory, deadline)
    } else {
      try disconnect(device, state: state, directory, deadline)
    }
    try wait(for: device, state: state, directory, deadline)
    return true
  }

  private static func disconnect(
    _ device: DeviceIndex, state: AttachmentState?, _ directory: StateDirectory,
    _ deadline: Deadline
  ) throws(NBDSecureError) {
    if let state, state.dataPath == "relay", !directory.isSupervised(state.identifier) {
      throw NBDSecureError(
        .kernel, "\(device.path): its supervisor is dead, so that it cannot be flushed",
        hint: "attach with the same arguments adopts it; detach --force loses what is unwritten")
    }
    // Bound by ioctls, a device is open in its supervisor.
    let holders = DeviceUse().lastingHolders(of: device, ignoring: state.map { [$0.pid] } ?? [])
    guard holders.isEmpty else { throw inUse(device, holders) }
    try bounded(deadline, device) { () throws(KernelError) in
      // Held exclusively until the kernel was told, so that nobody mounts it in between.
      let exclusive = try ExclusiveDevice(device)
      // Nothing waits in a device that cannot be written, and servers that are read-only may refuse
      // a flush although they offer it (nbdkit -o -r).
      if state?.readOnly != true { try exclusive.flush() }
      try tellKernel(device, state)
    }
  }

  /// For a server that is dead: the supervisor goes first, so that nothing waits for it.
  private static func disconnectByForce(
    _ device: DeviceIndex, state: AttachmentState?, _ directory: StateDirectory,
    _ deadline: Deadline
  ) throws(NBDSecureError) {
    if let state, let pid = livingSupervisor(of: state, directory) {
      _ = kill(pid, SIGKILL)
      while directory.isSupervised(state.identifier), !deadline.hasPassed {
        sleep(seconds: 0.01, until: deadline)
      }
    }
    guard state?.binding != "ioctl" else { return }
    try bounded(deadline, device) { () throws(KernelError) in try tellKernel(device, state) }
  }

  private static func tellKernel(
    _ device: DeviceIndex, _ state: AttachmentState?
  ) throws(KernelError) {
    if state?.binding == "ioctl" {
      try IoctlBinding(device: device).disconnect()
    } else {
      try NBDNetlink().disconnect(device: device)
    }
  }

  /// The supervisor's process id, which the lock's holder confirms.
  private static func livingSupervisor(
    of state: AttachmentState, _ directory: StateDirectory
  ) -> Int32? {
    let holder = (try? LockFile.holder(of: directory.lock(of: state.identifier))) ?? nil
    return holder == state.pid ? holder : nil
  }

  private static func wait(
    for device: DeviceIndex, state: AttachmentState?, _ directory: StateDirectory,
    _ deadline: Deadline
  ) throws(NBDSecureError) {
    do { try Sysfs().waitUntilGone(device, until: deadline) } catch {
      throw NBDSecureError(
        .timedOut, "\(device.path): \(error.message)",
        hint: "nbd-secure detach --force \(device.name) does not wait for the server",
        underlying: error)
    }
    guard let state else { return }
    // Its end is a matter of milliseconds; where it is killed, the file is ours to remove.
    while directory.isSupervised(state.identifier), !deadline.hasPassed {
      sleep(seconds: 0.005, until: deadline)
    }
    if !directory.isSupervised(state.identifier) { directory.removeLeftovers(of: state) }
    if state.name != nil { DeviceLink.changed(device.name) }
  }

  private static func inUse(_ device: DeviceIndex, _ holders: [DeviceHolder]) -> NBDSecureError {
    NBDSecureError(
      .kernel,
      "\(device.path): in use: \(holders.map(\.description).joined(separator: "; "))",
      hint:
        "unmount or close it first; --force detaches it all the same and loses what is unwritten"
    )
  }

  /// Runs what may wait for a dead server on a thread of its own, and gives up at the deadline.
  private static func bounded(
    _ deadline: Deadline, _ device: DeviceIndex,
    _ body: @escaping @Sendable () throws(KernelError) -> Void
  ) throws(NBDSecureError) {
    let result: Bounded
    do {
      result = Bounded(done: try EventSignal())
      try spawnDetachedThread(name: "detach") {
        do throws(KernelError) {
          try body()
          result.finish(nil)
        } catch {
          result.finish(error)
        }
      }
      try result.done.wait(until: deadline)
    } catch {
      throw NBDSecureError(
        .timedOut, "\(device.path): not flushed within \(Int(patience)) s: its server is silent",
        hint: "nbd-secure detach --force \(device.name) loses what is unwritten", underlying: error)
    }
    guard let error = result.error else { return }
    if error.kind == .busy { throw inUse(device, DeviceUse().holdersOrClaim(of: device)) }
    if error.errno == .ioError {
      throw NBDSecureError(
        .io, "\(device.path): \(error.message)",
        hint: "nbd-secure detach --force \(device.name) loses what is unwritten", underlying: error)
    }
    throw NBDSecureError(
      .kernel, "\(device.path): \(error.message)", hint: error.hint, underlying: error)
  }

  private final class Bounded: Sendable {
    let done: EventSignal
    private let outcome = Mutex<KernelError?>(nil)
    init(done: consuming EventSignal) { self.done = done }
    var error: KernelError? { outcome.withLock { $0 } }
    func finish(_ error: KernelError?) {
      outcome.withLock { $0 = error }
      done.signal()
    }
  }
}
