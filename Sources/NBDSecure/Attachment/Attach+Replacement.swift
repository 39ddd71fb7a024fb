// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDKernel
import SystemPackage

// Whose place an attachment takes, and whose it does not: one device for each name.

extension Attach {
  /// The lock, also that of a living supervisor of the same attachment, which is ended as by a crash: the device
  /// waits meanwhile, and is adopted. A service so takes over what was attached by hand, or what it
  /// left behind itself when it was stopped under a device in use.
  ///
  /// - Throws: `NBDSecureError` with `.kernel` where the other has other options, or cannot be
  ///   replaced; it goes on then.
  func takeOver() throws(NBDSecureError) -> LockFile? {
    if let lock = try acquireLock() { return lock }
    let device = try existing().device
    guard let state = directory.all().first(where: { $0.identifier == identifier }),
      let holder = (try? LockFile.holder(of: directory.lock(of: identifier))) ?? nil
    else { return try acquireLock() }
    guard state.binding == "netlink", state.pid == holder else {
      throw NBDSecureError(
        .kernel,
        "\(request.connection.endpoint): attached already as \(device) by process \(holder), "
          + "and a device bound by ioctls ends with its process",
        hint: "detach it first: nbd-secure detach \(state.device)")
    }
    log.write(.notice, "\(device): taking over from process \(holder)")
    _ = kill(holder, SIGKILL)
    let deadline = Deadline.after(seconds: 10)
    while !deadline.hasPassed {
      if let lock = try acquireLock() { return lock }
      sleep(seconds: 0.01, until: deadline)
    }
    throw NBDSecureError(.kernel, "\(device): process \(holder) does not end")
  }

  /// A name is one device's: `down`, `/dev/nbd-secure/NAME` and metrics know no other.
  func refuseSecondDevice() throws(NBDSecureError) {
    guard let name = request.name else { return }
    let presence = Presence(directory)
    let other = directory.all().first {
      $0.name == name.description && $0.identifier != identifier && presence.isTrue($0)
    }
    guard let other else { return }
    throw NBDSecureError(
      .kernel, "\(name): attached already as /dev/\(other.device) (\(other.server))",
      hint: "detach it first: nbd-secure down \(name)")
  }
}
