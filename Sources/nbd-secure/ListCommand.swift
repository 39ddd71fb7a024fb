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
    let lines = exports.map { export in
      // The tab is ours: one in a server's text would pass for another column.
      let name = export.name.isEmpty ? "\"\"" : export.name
      let texts = [name, export.description].compactMap(\.self)
      return texts.map(Diagnostics.oneLine).joined(separator: "\t")
    }
    Diagnostics.print(lines)
  }
}
