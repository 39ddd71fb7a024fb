// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
import LinuxIO
public import NBDSecure

extension AttachRequest.DataPath: ExpressibleByArgument {}
extension AttachRequest.Binding: ExpressibleByArgument {}

/// `nbd-secure [attach]`: a remote export becomes a block device.
struct AttachCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attach", abstract: "Attach a remote export as a block device (the default verb).")

  @OptionGroup(title: "Server options") var server: ServerOptions

  @Option(
    help: ArgumentHelp(
      "Device to use, nbd0 or /dev/nbd0. (default: the kernel picks)", valueName: "dev"),
    completion: Completion.devices)
  var device: String?

  @Flag(help: "Attach read-only even where the export is writable.")
  var readOnly = false

  @Option(help: ArgumentHelp("Parallel TLS connections.", valueName: "n"))
  var connections = 1

  @Option(help: "Through the userspace relay, or a kernel TLS socket.")
  var dataPath = AttachRequest.DataPath.auto

  @Option(help: "Kernel interface.")
  var binding = AttachRequest.Binding.auto

  @Option(
    help: ArgumentHelp(
      "Logical block size shown to the kernel. (default: the server's minimum, at least 512)",
      valueName: "bytes"))
  var blockSize: UInt32?

  @Option(
    help: ArgumentHelp(
      "How long I/O waits for a lost server; 0: no reconnection.", valueName: "seconds"))
  var reconnectTimeout: Double = 300

  @Option(
    help: ArgumentHelp(
      "A request unanswered for so long counts as a lost connection.", valueName: "seconds"))
  var ioTimeout: Double = 60

  @Option(
    help: ArgumentHelp(
      "Unflushed writes kept for a server that crashes; 0 keeps none.", valueName: "mib"))
  var flushWindow = AttachRequest.defaultFlushWindow

  @Option(
    help: ArgumentHelp(
      "Attach what /etc/nbd-secure/attachments/NAME.toml describes, or the file of that path.",
      valueName: "name"),
    completion: Completion.attachments)
  var config: String?

  @Flag(help: "Stay in the foreground, for service managers.")
  var foreground = false

  /// The descriptor on which a supervisor in the background reports to its parent.
  @Option(help: .private)
  var reportTo: Int32?

  @OptionGroup var common: CommonOptions

  private func request() throws(NBDSecureError) -> AttachRequest {
    if let config {
      try refuseOptionsBesideConfig()
      return try NamedAttachment(config).request
    }
    var request = AttachRequest(try server.request())
    request.device = device
    request.readOnly = readOnly
    request.connections = connections
    request.dataPath = dataPath
    request.binding = binding
    request.blockSize = blockSize
    request.reconnectTimeout = reconnectTimeout
    request.ioTimeout = ioTimeout
    request.flushWindow = flushWindow
    try request.validate()
    return request
  }

  /// The file says all about the attachment: what stands beside it would be lost unseen.
  private func refuseOptionsBesideConfig() throws(NBDSecureError) {
    let allowed: Set<Substring> = [
      "--config", "--foreground", "--report-to", "--verbose", "--quiet",
    ]
    let options = CommandLine.arguments.dropFirst().filter { $0.hasPrefix("-") }
      .map { $0.prefix { $0 != "=" } }
    let other =
      options.first { !allowed.contains($0) && !$0.dropFirst().allSatisfy { $0 == "v" } }
      ?? server.endpoint.map { $0[...] }
    guard let other else { return }
    throw NBDSecureError(
      .usage, "\(other) cannot be combined with --config",
      hint: "write it into the attachment's file")
  }

  mutating func run() throws {
    let request = try request()
    if let reportTo {
      runInBackground(request, SupervisorReport(to: reportTo))
    } else if foreground {
      try runInForeground(request)
    } else {
      let outcome = try attachInBackground(arguments: Array(CommandLine.arguments.dropFirst()))
      tell(outcome)
    }
  }

  /// The supervisor: events go to the caller's standard error until the device is ready, then to
  /// the journal.
  private func runInBackground(_ request: AttachRequest, _ report: SupervisorReport) -> Never {
    let log = EventLog { _, _ in }
    let attach = Attach(
      request, log: log, lifeline: report.descriptor, warn: common.warn, trace: common.trace)
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
    let attach = Attach(request, log: log, warn: common.warn, trace: common.trace)
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
