// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// What the shell offers for arguments that are things of this host.
enum Completion {
  static let devices = CompletionKind.custom { _, _, _ in Attachments.knownDevices() }

  static let attachments = CompletionKind.custom { _, _, _ in
    NamedAttachment.names().map(\.description)
  }
}
