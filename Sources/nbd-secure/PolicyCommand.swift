// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure policy`: what this host's policy says.
struct PolicyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "policy", abstract: "Show the effective policy, or what it says to an endpoint.",
    subcommands: [PolicyShowCommand.self, PolicyExplainCommand.self])
}

/// `nbd-secure policy show`: every file and rule, as it was understood.
struct PolicyShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Print the effective rules.")

  @Option(
    help: ArgumentHelp("One more policy file; can only restrict further.", valueName: "file"),
    completion: .file(extensions: ["toml"]))
  var policy: [String] = []

  @OptionGroup var output: OutputOptions
  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    let description = try PolicyInquiry.describe(files: policy)
    if output.json {
      try Diagnostics.printJSON(description)
    } else {
      Diagnostics.print(description.lines.map(Diagnostics.oneLine))
    }
  }
}

/// `nbd-secure policy explain`: which rule decides about an attachment, and why.
struct PolicyExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Say which rule decides about an attachment, and why.",
    discussion: "Connects nowhere. Ends with the status that an attachment would be refused with.")

  @OptionGroup(title: "Server options") var server: ServerOptions

  @Flag(help: "Ask about a read-only device.")
  var readOnly = false

  @Option(help: "Ask about this data path.")
  var dataPath = AttachRequest.DataPath.auto

  @OptionGroup var output: OutputOptions
  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    var request = AttachRequest(try server.request())
    request.readOnly = readOnly
    request.dataPath = dataPath
    try request.validate()
    let report = try PolicyInquiry.explain(request)
    if output.json {
      try Diagnostics.printJSON(report)
    } else {
      let lines = report.explanation.lines + report.unknown.map { "note: \($0)" }
      Diagnostics.print(lines.map(Diagnostics.oneLine))
    }
    // The explanation is the result; what it ends with is for scripts.
    if let failure = report.failure { throw SilentExit(status: ExitStatus.of(failure.code)) }
  }
}
