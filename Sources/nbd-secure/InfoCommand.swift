// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure info`: one export, and what the TLS session proved.
struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info", abstract: "Show one export and what the TLS session proved.")

  @OptionGroup(title: "Server options") var server: ServerOptions
  @OptionGroup var output: OutputOptions
  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    let inspection = Inspection(
      try server.request(), warn: common.warn, trace: common.trace)
    let report = try inspection.info()
    if output.json {
      try Diagnostics.printJSON(report)
    } else {
      Diagnostics.print(Self.rows(report).map(Diagnostics.row))
    }
  }

  private static func rows(_ report: ExportReport) -> [(String, String)] {
    var rows = [
      ("server", report.server), ("address", report.address),
      ("export", report.export.isEmpty ? "\"\" (default)" : report.export),
    ]
    if let name = report.canonicalName, name != report.export {
      rows.append(("canonical name", name))
    }
    if let description = report.description { rows.append(("description", description)) }
    rows.append(("size", TextForm.size(report.size)))
    rows.append(("access", report.readOnly ? "read-only" : "read-write"))
    rows.append(("flags", report.flags.joined(separator: " ")))
    if let blocks = report.blockSizes {
      rows.append(
        (
          "block sizes",
          "\(blocks.minimum) minimum, \(blocks.preferred) preferred, \(blocks.maximum) maximum"
        ))
    }
    return rows + TextForm.rows(report.tls)
  }
}
