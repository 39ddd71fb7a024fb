// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// The command: a table of verbs, and the one place where errors become text and exit status.
@main
struct NBDSecureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "nbd-secure",
    abstract: "Attach remote block devices over verified TLS.",
    discussion: """
      Connects to an NBD server, upgrades to TLS, verifies the server, and attaches its export \
      as /dev/nbdN. Plaintext is refused unless explicitly allowed.
      """,
    version: Version.text,
    subcommands: [
      AttachCommand.self, DetachCommand.self, StatusCommand.self, ListCommand.self,
      InfoCommand.self, CheckCommand.self, ProxyCommand.self, CopyCommand.self,
      PolicyCommand.self, UpCommand.self, DownCommand.self,
      ImportNBDTabCommand.self, UdevPropertiesCommand.self,
    ],
    defaultSubcommand: AttachCommand.self)

  static func main() {
    Process.fillStandardDescriptors()
    Process.protectSecrets()
    do {
      if let slip = Slips.verb(in: Array(CommandLine.arguments.dropFirst())) { throw slip }
      var command = try parseAsRoot()
      try command.run()
      try Diagnostics.checkOutput()
    } catch let error as NBDSecureError {
      Diagnostics.report(error)
      Process.exit(ExitStatus.of(error.code))
    } catch let silent as SilentExit {
      Process.exit(silent.status)
    } catch {
      exitForParser(error)
    }
  }

  /// Help and version go to standard output; everything else the parser throws is a usage error.
  private static func exitForParser(_ error: any Error) -> Never {
    let arguments = Array(CommandLine.arguments.dropFirst())
    guard exitCode(for: error) != .success else {
      if let slip = Slips.dash(in: arguments) { usage(slip) }
      if arguments == ["policy"] {
        usage(
          NBDSecureError(
            .usage, "policy: what about it?", hint: "nbd-secure policy show, or policy explain"))
      }
      let text = fullMessage(for: error)
      Diagnostics.print(
        CommandLine.arguments.contains("--generate-completion-script")
          ? Completion.completed(text) : text)
      Process.exit(0)
    }
    let lines = message(for: error).split(separator: "\n", maxSplits: 1)
    usage(
      NBDSecureError(
        .usage, lines.first.map { better(String($0)) } ?? "wrong usage",
        hint: "nbd-secure --help lists verbs and options"))
  }

  private static func usage(_ error: NBDSecureError) -> Never {
    Diagnostics.report(error)
    Process.exit(ExitStatus.of(.usage))
  }

  /// The parser looks for an option of similar letters; what was cut short is nearer.
  private static func better(_ message: String) -> String {
    guard let match = message.firstMatch(of: /^Unknown option '(--[a-z-]+)'/) else {
      return message
    }
    let meant = Slips.options(beginningWith: String(match.1))
    guard !meant.isEmpty else { return message }
    return "Unknown option '\(match.1)'. Did you mean \(meant.joined(separator: " or "))?"
  }
}

/// Ends the command with a status and no further message.
struct SilentExit: Error {
  let status: Int32
}
