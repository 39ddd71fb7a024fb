// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure check`: what would happen, and why, before it happens.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Say what an attachment would come to, and why.",
    discussion: """
      Takes the arguments of attach, and attaches nothing. Without an endpoint: credentials, \
      policy files and kernel. Ends with the status that attach would end with, run as root.
      """)

  @OptionGroup(title: "Server options") var server: ServerOptions
  @OptionGroup(title: "Device options") var device: DeviceOptions
  @OptionGroup var output: OutputOptions
  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    let report = try examine()
    if output.json {
      try Diagnostics.printJSON(report)
    } else {
      Diagnostics.print(Self.lines(report, quiet: common.quiet))
    }
    // The report is the result; what it ends with is for scripts.
    if let failure = report.failure { throw SilentExit(status: ExitStatus.of(failure.code)) }
  }

  private func examine() throws(NBDSecureError) -> CheckReport {
    let options = server.connectionOptions
    guard options.namesServer || device.config != nil else {
      return try Check.host(options) { (options) throws(NBDSecureError) in
        try device.request(from: options)
      }
    }
    return try Check.attachment(options, trace: common.trace) { () throws(NBDSecureError) in
      try device.request(from: server)
    }
  }

  private static let marks: [CheckReport.Mark: String] = [
    .ok: "ok    ", .note: "-     ", .warning: "warn  ", .failed: "FAIL  ",
  ]

  /// Quiet: what is in order is left out.
  private static func lines(_ report: CheckReport, quiet: Bool) -> [String] {
    var lines: [String] = []
    for area in CheckReport.Area.allCases {
      let findings = report.findings.filter {
        $0.area == area && (!quiet || $0.mark == .failed || $0.mark == .warning)
      }
      guard !findings.isEmpty else { continue }
      lines.append(area.rawValue)
      for finding in findings {
        lines.append("  \(marks[finding.mark] ?? "")\(Diagnostics.oneLine(finding.text))")
        if let hint = finding.hint { lines.append("        hint: \(Diagnostics.oneLine(hint))") }
      }
    }
    if let failure = report.failure {
      let others = report.failures.count - 1
      lines.append(
        "attach would fail: \(Diagnostics.oneLine(failure.summary))"
          + (others > 0 ? " (and \(others) more)" : ""))
    } else if let endpoint = report.endpoint {
      let who = report.isRoot ? "" : " as root"
      lines.append("attach would work\(who): \(Diagnostics.oneLine(endpoint))")
    }
    return lines
  }
}
