// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LinuxIO
import NBDSecure

/// `nbd-secure [attach]`: a remote export becomes a block device.
struct AttachCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attach", abstract: "Attach a remote export as a block device (the default verb).")

  @OptionGroup(title: "Server options") var server: ServerOptions

  @OptionGroup(title: "Device options") var device: DeviceOptions

  @Flag(help: "Stay in the foreground, for service managers.")
  var foreground = false

  /// The descriptor on which a supervisor in the background reports to its parent.
  @Option(help: .private)
  var reportTo: Int32?

  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    let request = try device.request(from: server)
    if let reportTo {
      runInBackground(request, SupervisorReport(to: reportTo))
    } else if foreground {
      try runInForeground(request)
    } else {
      let outcome = try attachInBackground(
        name: CommandLine.arguments.first, arguments: Array(CommandLine.arguments.dropFirst()))
      tell(outcome)
    }
  }

  /// The supervisor: events go to the caller's standard error until the device is ready, then to
  /// the journal.
  private func runInBackground(_ request: AttachRequest, _ report: SupervisorReport) -> Never {
    let log = EventLog { _, _ in }
    let tell = common.warn
    let warn: @Sendable (String) -> Void = { line in
      tell(line)
      log.writeToSystem(.warning, line)
    }
    // All paths are absolute by now; a supervisor is not to keep a file system busy.
    Process.leaveDirectory()
    let attach = Attach(
      request, log: log, lifeline: report.descriptor, warn: warn, trace: common.trace)
    do throws(NBDSecureError) {
      try attach.run { outcome in
        log.switchToSystem()
        report.ready(outcome)
      }
    } catch {
      report.failed(error)
      Process.exit(ExitStatus.of(error.code))
    }
    Process.exit(0)
  }

  private func runInForeground(_ request: AttachRequest) throws(NBDSecureError) {
    let quiet = common.quiet
    let log = EventLog { priority, line in
      if !quiet || priority <= .warning { Diagnostics.note(line) }
    }
    // Under a service manager the process that it started is to be the supervisor, no other.
    let attach = Attach(
      request, log: log, takesOver: ServiceManager.isListening, warn: common.warn,
      trace: common.trace)
    try attach.run { outcome in
      tell(outcome)
      ServiceNotification.ready(outcome)
    }
  }

  private func tell(_ outcome: AttachOutcome) {
    if outcome.kind == .adopted, !common.quiet {
      Diagnostics.note("\(outcome.device): adopted: its supervisor had died")
    }
    Diagnostics.print(outcome.device)
  }
}
