// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDKernel
import SystemPackage

/// Detaches devices: flush, disconnect, wait until the kernel and the supervisor have let go.
public enum Detach {
  /// How long a detach may take, seconds.
  public static let patience: Double = 30
  /// How long a device that was disconnected by force is waited for while somebody has it open,
  /// seconds.
  fileprivate static let patienceOfForce: Double = 1

  /// What became of a device.
  public enum Outcome: Sendable, Hashable {
    case detached
    case wasNotAttached
    /// It is disconnected, and its number is free when these users, each in words, have closed it.
    case held([String])
  }

  /// Detaches one device.
  ///
  /// - Parameters:
  ///   - text: `nbd0` or `/dev/nbd0`.
  ///   - force: detach it in use, or with a dead server: nothing is flushed, and the device is
  ///     never opened. What was not written is lost.
  /// - Throws: `NBDSecureError`: `.usage`, `.kernel` where it is in use or not ours, `.timedOut`.
  public static func detach(_ text: String, force: Bool) throws(NBDSecureError) -> Outcome {
    if DeviceIndex(text) == nil, let name = AttachmentName(text),
      NamedAttachment.names().contains(name)
    {
      throw usage(
        "\(text): an attachment's name, not a device", hint: "nbd-secure down \(text) detaches it")
    }
    let device = try deviceIndex(text)
    guard ThisProcess.effectiveUser == 0 else {
      throw NBDSecureError(.kernel, "detaching needs root", hint: "run it as root")
    }
    let presence = Presence()
    let directory = presence.directory
    guard presence.sysfs.isConnected(device) else {
      let left = directory.read(device.name)
      guard presence.sysfs.exists(device) || left != nil else {
        throw NBDSecureError(
          .kernel, "\(device.path): there is no such device",
          hint: "nbd-secure status lists what is attached")
      }
      if let left { presence.removeStale(left.identifier) }
      return .wasNotAttached
    }
    guard let identifier = presence.identifier(of: device) else {
      throw NBDSecureError(
        .kernel, "\(device.path): not attached by nbd-secure",
        hint: "what nbd-client attached, nbd-client -d \(device.path) detaches")
    }
    if presence.isReleasing(device, identifier) {
      presence.removeStale(identifier)
      return .held(holders(of: device, ignoring: []).map(\.description))
    }
    let state = presence.state(of: device)
    let target = Target(
      device: device, state: state, identifier: identifier,
      supervisor: directory.supervisor(of: identifier), directory: directory,
      deadline: .after(seconds: patience))
    return force ? try target.disconnectByForce() : try target.disconnect()
  }

  /// Removes the state files of devices that are no longer attached.
  public static func removeLeftovers() { Presence().removeStale() }

  /// Who uses the device, but for those that go by themselves.
  fileprivate static func holders(
    of device: DeviceIndex, ignoring ignored: Set<Int32>
  ) -> [DeviceHolder] {
    DeviceUse().holders(of: device, ignoring: ignored).filter { !$0.isPassing }
  }
}

/// A device that is being detached, and what is known of it.
private struct Target {
  let device: DeviceIndex
  /// Nil where its supervisor lost its state file, or died before it wrote one.
  let state: AttachmentState?
  let identifier: String
  /// Nil where it is dead, or where none is needed.
  let supervisor: Int32?
  let directory: StateDirectory
  let deadline: Deadline

  private var forceHint: String {
    "nbd-secure detach --force \(device.name) loses what is unwritten"
  }

  func disconnect() throws(NBDSecureError) -> Detach.Outcome {
    if supervisor == nil, state?.dataPath != "ktls" {
      throw NBDSecureError(
        .kernel, "\(device.path): its supervisor is dead, so that it cannot be flushed",
        hint: "attach with the same arguments adopts it; detach --force loses what is unwritten")
    }
    // Bound by ioctls, a device is open in its supervisor.
    let ignored = Set([state?.pid, supervisor].compactMap(\.self))
    let holders = DeviceUse().lastingHolders(of: device, ignoring: ignored)
    guard holders.isEmpty else { throw inUse(holders) }
    do throws(KernelError) {
      // Held exclusively until the kernel was told, so that nobody mounts it in between.
      // Nothing waits in a device that cannot be written, and servers that are read-only may refuse
      // a flush although they offer it (nbdkit -o -r).
      var flushing = try FlushingProcess(device, writesBack: state?.readOnly != true)
      try flushing.wait(until: deadline)
      try tellKernel()
    } catch {
      switch error.kind {
      case .busy: throw inUse(DeviceUse().holdersOrClaim(of: device))
      case .timedOut: throw notFlushed(error)
      default: throw failure(error)
      }
    }
    try waitUntilGone()
    return .detached
  }

  /// For a server that is dead: the supervisor goes first, so that nothing waits for it.
  func disconnectByForce() throws(NBDSecureError) -> Detach.Outcome {
    if let supervisor, supervisor > 0 {
      _ = kill(supervisor, SIGKILL)
      while directory.isSupervised(identifier), !deadline.hasPassed {
        sleep(seconds: 0.01, until: deadline)
      }
    }
    if state?.binding != "ioctl" {
      do throws(KernelError) { try tellKernel() } catch { throw failure(error) }
    }
    // The kernel has let go of the server; the number stays taken while somebody has it open.
    let soon = min(deadline, .after(seconds: Detach.patienceOfForce))
    do { try Sysfs().waitUntilGone(device, until: soon) } catch {
      let holders = Detach.holders(of: device, ignoring: [])
      guard holders.isEmpty else {
        removeLeftovers()
        return .held(holders.map(\.description))
      }
    }
    try waitUntilGone()
    return .detached
  }

  private func tellKernel() throws(KernelError) {
    if state?.binding == "ioctl" {
      try IoctlBinding(device: device).disconnect()
    } else {
      try NBDNetlink().disconnect(device: device, until: deadline)
    }
  }

  private func waitUntilGone() throws(NBDSecureError) {
    do { try Sysfs().waitUntilGone(device, until: deadline) } catch {
      throw NBDSecureError(
        .timedOut, "\(device.path): disconnected, but \(error.message)",
        hint: "somebody has it open: nbd-secure status \(device.name)", underlying: error)
    }
    // Its end is a matter of milliseconds; where it is killed, the file is ours to remove.
    while directory.isSupervised(identifier), !deadline.hasPassed {
      sleep(seconds: 0.005, until: deadline)
    }
    removeLeftovers()
  }

  private func removeLeftovers() {
    guard let state, !directory.isSupervised(identifier) else { return }
    directory.removeLeftovers(of: state)
    if state.name != nil { DeviceLink.changed(device.name) }
  }

  private func inUse(_ holders: [DeviceHolder]) -> NBDSecureError {
    // A flush that nobody waits for any more ends when its server answers, or by force.
    if holders.contains(where: \.isFlush) { return notFlushed(nil) }
    return NBDSecureError(
      .kernel,
      "\(device.path): in use: \(holders.map(\.description).joined(separator: "; "))",
      hint:
        "unmount or close it first; --force detaches it all the same and loses what is unwritten"
    )
  }

  private func notFlushed(_ error: KernelError?) -> NBDSecureError {
    NBDSecureError(
      .timedOut,
      "\(device.path): not flushed within \(Int(Detach.patience)) s: its server is silent",
      hint: forceHint, underlying: error)
  }

  private func failure(_ error: KernelError) -> NBDSecureError {
    let code: NBDSecureError.Code =
      error.errno == .ioError ? .io : error.kind == .timedOut ? .timedOut : .kernel
    return NBDSecureError(
      code, "\(device.path): \(error.message)",
      hint: error.hint ?? (error.errno == .ioError ? forceHint : nil), underlying: error)
  }
}

extension DeviceHolder {
  /// Whether it is a detach of ours that was given up, and still waits for the server.
  fileprivate var isFlush: Bool {
    if case .process(_, FlushingProcess.name) = self { true } else { false }
  }
}
