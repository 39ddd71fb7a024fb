// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel

/// What is attached by this program now. A state file is a supervisor's word, and may be left of
/// one that died, or of a device that somebody else has by now: it is believed only where the
/// kernel or the attachment's lock confirms it.
struct Presence {
  let sysfs = Sysfs()
  let directory: StateDirectory

  init(_ directory: StateDirectory = .standard) { self.directory = directory }

  /// Whether a state file tells of what its device is attached to now.
  func isTrue(_ state: AttachmentState) -> Bool {
    guard let device = DeviceIndex(state.device), sysfs.isConnected(device) else { return false }
    if let backend = sysfs.backend(device) { return backend == state.identifier }
    // Bound by ioctls a device has no identifier, and ends with its supervisor.
    if state.binding == Binder.Kind.netlink.rawValue, KernelSupport.showsBackends { return false }
    return directory.supervisor(of: state.identifier) == state.pid
      || state.link == .unsupervised && state.hasLiveSockets
  }

  /// The state file of a device, where it is true.
  func state(of device: DeviceIndex) -> AttachmentState? {
    directory.read(device.name).flatMap { isTrue($0) ? $0 : nil }
  }

  /// The identifier of an attachment of ours, from its state file or from the kernel; nil for a
  /// device of somebody else.
  func identifier(of device: DeviceIndex) -> String? {
    if let state = state(of: device) { return state.identifier }
    guard let backend = sysfs.backend(device), Self.isOurs(backend) else { return nil }
    return backend
  }

  /// Whether a backend identifier has the form of ours: a SHA-256 in hex.
  static func isOurs(_ backend: String) -> Bool {
    backend.utf8.count == 64 && backend.allSatisfy(\.isHexDigit)
  }

  /// The device that is attached with this identifier; nil when there is none, or only one that was
  /// disconnected and waits for its last user.
  func device(_ identifier: String) -> DeviceIndex? {
    let found = sysfs.devices(backend: identifier)
    return found.first { !isReleasing($0, identifier) }
  }

  /// Whether the device was disconnected, and is only there until its last user has closed it.
  /// False where the kernel does not tell (it tells root).
  func isReleasing(_ device: DeviceIndex, _ identifier: String) -> Bool {
    guard sysfs.backend(device) == identifier,
      let bound = try? NBDNetlink().isBound(device: device, backend: identifier)
    else { return false }
    return !bound
  }

  /// Removes the state files that are not true, but for those that a supervisor is about to remove.
  ///
  /// - Parameter identifier: only those of this attachment; nil for all.
  func removeStale(_ identifier: String? = nil) {
    for state in directory.all()
    where (identifier == nil || identifier == state.identifier) && !isTrue(state) {
      switch directory.supervisor(of: state.identifier) {
      case nil: directory.removeLeftovers(of: state)
      case state.pid: break
      default: directory.remove(state.device)
      }
    }
  }

  /// The device that an attachment like this one has already.
  ///
  /// - Throws: `NBDSecureError` with `.kernel` where it was made with other options.
  func attachment(of request: AttachRequest) throws(NBDSecureError) -> DeviceIndex? {
    let identifier = backendIdentifier(of: request.connection.endpoint)
    let state = directory.all().first { $0.identifier == identifier && isTrue($0) }
    if let state { try request.checkOptions(state) }
    return state.flatMap { DeviceIndex($0.device) } ?? device(identifier)
  }
}
