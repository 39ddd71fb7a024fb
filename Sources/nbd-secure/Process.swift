// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDSecure

/// The process that the command runs in.
enum Process {
  static func exit(_ status: Int32) -> Never { Glibc.exit(status) }

  static func leaveDirectory() { _ = unsafe chdir("/") }

  static func protectSecrets() { Privileges.protectSecrets() }

  /// Takes the standard descriptors that the caller closed, so that no socket or file gets their
  /// numbers: what is meant for standard output must never go to the network. Each is opened the
  /// wrong way round, so that its use fails.
  static func fillStandardDescriptors() {
    for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) < 0 {
      let opened = unsafe open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY)
      // Without /dev/null nothing is safe to open any more.
      if opened != descriptor { exit(1) }
    }
  }
}

/// What the service manager hears (sd_notify(3)).
enum ServiceNotification {
  static func ready(_ outcome: AttachOutcome) { ready(status: "attached as \(outcome.device)") }

  static func ready(status: String) {
    // Without a service manager there is nobody to tell.
    _ = try? ServiceManager.notify(["READY=1", "STATUS=\(status)"])
  }
}
