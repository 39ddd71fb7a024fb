// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure list`: the exports that a server offers.
struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the exports that a server offers.")

  @OptionGroup(title: "Server options") var server: ServerOptions
  @OptionGroup var output: OutputOptions
  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    let inspection = Inspection(
      try server.request(), warn: common.warn, trace: common.trace)
    let exports = try inspection.list()
    if output.json {
      try Diagnostics.printJSON(exports)
      return
    }
    for export in exports {
      let name = export.name.isEmpty ? "\"\"" : export.name
      Diagnostics.print(
        Diagnostics.oneLine(export.description.map { "\(name)\t\($0)" } ?? name))
    }
  }
}
