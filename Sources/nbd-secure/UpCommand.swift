// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure up NAME`: attach by name.
struct UpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "up", abstract: "Attach what an attachment's file describes.")

  @Argument(
    help: "Name of an attachment, or the path of its file.", completion: Completion.attachments)
  var name: String

  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    // Mistakes in the file are told before a process is started for it.
    _ = try NamedAttachment(name)
    var arguments = ["attach", "--config", name]
    arguments += Array(repeating: "-v", count: common.verbose)
    if common.quiet { arguments.append("--quiet") }
    let outcome = try attachInBackground(
      name: CommandLine.arguments.first, arguments: arguments)
    if outcome.kind == .adopted, !common.quiet {
      Diagnostics.note("\(outcome.device): adopted: its supervisor had died")
    }
    Diagnostics.print(outcome.device)
  }
}

/// `nbd-secure down NAME`: detach by name.
struct DownCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "down", abstract: "Detach the device of a named attachment.")

  @Argument(help: "Name of an attachment.", completion: Completion.attachments)
  var name: String

  @Flag(help: "Detach a device in use, or of a dead server; what is unwritten is lost.")
  var force = false

  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    guard let name = AttachmentName(name) else {
      throw NBDSecureError(
        .usage,
        name.isEmpty
          ? "an attachment's name: must not be empty" : "\(name): cannot be an attachment's name")
    }
    guard let device = try Attachments.device(of: name) else {
      // A slip of the pen must not look like success.
      if !NamedAttachment.names().contains(name) {
        throw NBDSecureError(
          .usage, "\(name): neither attached nor described in \(NamedAttachment.directory)",
          hint: "nbd-secure status lists what is attached")
      }
      if !common.quiet { Diagnostics.note("\(name): was not attached") }
      return
    }
    let outcome = try Detach.detach(device, force: force)
    DetachCommand.tell(outcome, of: device, quiet: common.quiet)
  }
}
