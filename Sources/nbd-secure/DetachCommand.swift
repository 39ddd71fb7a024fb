// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure detach`: flush, disconnect, wait until the device is gone.
struct DetachCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detach", abstract: "Flush, then disconnect; refuses a device in use.")

  @Argument(
    help: ArgumentHelp("Devices, nbd0 or /dev/nbd0.", valueName: "device"),
    completion: Completion.devices)
  var devices: [String] = []

  @Flag(help: "Detach every attachment of this host.")
  var all = false

  @Flag(help: "Detach a device in use, or of a dead server; what is unwritten is lost.")
  var force = false

  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    guard all != !devices.isEmpty else {
      throw NBDSecureError(
        .usage, devices.isEmpty ? "no device named" : "--all and devices exclude each other",
        hint: "nbd-secure detach nbd0, or nbd-secure detach --all")
    }
    let wanted = all ? try Attachments.status().map(\.device) : devices
    var failure: NBDSecureError?
    for device in wanted {
      do throws(NBDSecureError) {
        Self.tell(try Detach.detach(device, force: force), of: device, quiet: common.quiet)
      } catch {
        // The others are detached all the same; the first failure decides the exit status.
        if failure != nil || wanted.count > 1 { Diagnostics.report(error) }
        failure = failure ?? error
      }
    }
    if all { Detach.removeLeftovers() }
    if let failure {
      if wanted.count > 1 { throw SilentExit(status: ExitStatus.of(failure.code)) }
      throw failure
    }
  }

  /// What is no failure and worth a line.
  static func tell(_ outcome: Detach.Outcome, of device: String, quiet: Bool) {
    guard !quiet else { return }
    switch outcome {
    case .detached: break
    case .wasNotAttached: Diagnostics.note("\(device): was not attached")
    case .held(let holders):
      let end =
        holders.isEmpty
        ? "until its last user closes it" : "while \(holders.joined(separator: "; "))"
      Diagnostics.note("\(device): disconnected; the kernel keeps the device \(end)")
    }
  }
}
