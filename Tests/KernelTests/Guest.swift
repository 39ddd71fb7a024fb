// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport

/// How many guests run at a time. They wait more than they work, so there may be more than processors.
private let room = DispatchSemaphore(value: 4)

/// A script that runs as root on a real kernel: `guest/scenarios/NAME ARGUMENTS`.
struct Scenario: Sendable, CustomStringConvertible {
  var name: String
  var arguments: [String]
  /// Options of run-guest.
  var guest: [String]
  /// Seconds until it is given up.
  var timeout: Int

  init(_ name: String, _ arguments: String..., guest: [String] = [], timeout: Int = 900) {
    self.init(name, arguments, guest: guest, timeout: timeout)
  }

  init(_ name: String, _ arguments: [String], guest: [String] = [], timeout: Int = 900) {
    self.name = name
    self.arguments = arguments
    self.guest = guest
    self.timeout = timeout
  }

  var description: String { ([name] + arguments).joined(separator: " ") }

  /// Boots a kernel for this scenario alone, with the program and the certificates of this run. On
  /// a thread of its own, so that a test that waits for its guest holds up no other.
  func play() async throws -> Outcome {
    let pki = try PKI.shared.get()
    let guestDirectory = repository + "/Tests/KernelTests/guest"
    let options = [
      "--timeout", "\(timeout)", "--env", "NBD_SECURE=\(nbdSecurePath)", "--env", "PKI=\(pki.root)",
      "--share", pki.root,
    ]
    return try await withCheckedThrowingContinuation { done in
      Thread.detachNewThread {
        room.wait()
        defer { room.signal() }
        done.resume(
          with: Result {
            try run(
              guestDirectory + "/run-guest",
              options + guest + ["\(guestDirectory)/scenarios/\(name)"] + arguments,
              directory: repository, timeout: Double(timeout) + 20)
          })
      }
    }
  }
}
