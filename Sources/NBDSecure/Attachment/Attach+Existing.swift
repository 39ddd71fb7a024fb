// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel
import SystemPackage

// One attachment for each endpoint and export.

extension Attach {
  func acquireLock() throws(NBDSecureError) -> LockFile? {
    let path = directory.lock(of: identifier)
    return try system("lock \(path)") { () throws(Errno) in try LockFile.acquire(path) }
  }

  /// The attachment that a living supervisor has of the same export, where it is the same.
  func existing() throws(NBDSecureError) -> AttachOutcome {
    let deadline = Deadline.after(seconds: request.connection.connectTimeout)
    while true {
      let presence = Presence(directory)
      let supervisor = directory.supervisor(of: identifier)
      // A file that a supervisor before this one left says nothing of what is attached now.
      if let state = directory.all().first(where: {
        $0.identifier == identifier && $0.pid == supervisor && presence.isTrue($0)
      }) {
        try request.checkOptions(state)
        if let name = request.name, state.name != name.description {
          throw NBDSecureError(
            .kernel,
            "\(name): attached already as /dev/\(state.device), "
              + (state.name.map { "under the name \($0)" } ?? "without a name"),
            hint: "detach it first: nbd-secure detach \(state.device)")
        }
        return AttachOutcome(device: "/dev/\(state.device)", kind: .existing)
      }
      // Its supervisor is on the way to a device, or failing: it is soon one or the other.
      guard !deadline.hasPassed else {
        throw beingAttached(presence, supervisor)
      }
      sleep(seconds: 0.05, until: deadline)
      if !directory.isSupervised(identifier) {
        throw NBDSecureError(
          .other, "\(request.connection.endpoint): another attach of it just failed or ended",
          hint: "try again")
      }
    }
  }

  /// The same export under another spelling of the server is another attachment, with a cache of
  /// its own.
  func warnOfTwin(_ connection: Connection) {
    let presence = Presence(directory)
    let twin = directory.all().first {
      $0.identifier != identifier && $0.address == "\(connection.address)"
        && $0.export == request.connection.endpoint.export && presence.isTrue($0)
    }
    guard let twin, !(twin.readOnly && request.readOnly) else { return }
    warn(
      "\(request.connection.endpoint): the same export is attached as /dev/\(twin.device), with the "
        + "server named \(twin.server); what both write can destroy each other")
  }

  private func beingAttached(_ presence: Presence, _ supervisor: Int32?) -> NBDSecureError {
    let process = supervisor.map { "process \($0)" } ?? "another process"
    guard let device = presence.sysfs.devices(backend: identifier).first else {
      return NBDSecureError(
        .kernel, "\(request.connection.endpoint): being attached by \(process)",
        hint: "try again")
    }
    return NBDSecureError(
      .kernel,
      "\(request.connection.endpoint): attached already as \(device.path) by \(process), "
        + "whose state file is missing",
      hint: "detach it first: nbd-secure detach \(device.name)")
  }
}
