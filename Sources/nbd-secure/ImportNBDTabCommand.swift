// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure import-nbdtab`: attachments from nbd-client's table.
struct ImportNBDTabCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import-nbdtab",
    abstract: "Write attachments for the entries of an nbdtab(5) that use TLS.")

  @Argument(help: "The table to read.", completion: .file())
  var file = "/etc/nbdtab"

  @Option(
    help: ArgumentHelp("Directory to write to; nothing there is overwritten.", valueName: "dir"),
    completion: .directory)
  var output = NamedAttachment.directory

  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    let table = try NBDTabImport(file: file, output: output)
    try table.write()
    for line in table.notes { Diagnostics.note(line) }
    Diagnostics.print(table.files)
  }
}
