// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDSecure

/// The process that the command runs in.
enum Process {
  static func exit(_ status: Int32) -> Never { Glibc.exit(status) }

  static func protectSecrets() { Privileges.protectSecrets() }
}

/// What the service manager hears (sd_notify(3)).
enum ServiceNotification {
  static func ready(_ outcome: AttachOutcome) { ready(status: "attached as \(outcome.device)") }

  static func ready(status: String) {
    // Without a service manager there is nobody to tell.
    _ = try? ServiceManager.notify(["READY=1", "STATUS=\(status)"])
  }
}
