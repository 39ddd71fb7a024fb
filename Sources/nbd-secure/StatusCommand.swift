// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure status`: every attachment of this host.
struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show the attachments of this host.")

  @Argument(
    help: ArgumentHelp(
      "Devices, nbd0 or /dev/nbd0, or names of attachments. (default: all)", valueName: "device"),
    completion: Completion.devicesAndAttachments)
  var devices: [String] = []

  @OptionGroup var output: OutputOptions

  @Flag(help: "Print metrics for the node exporter's textfile collector.")
  var prometheus = false

  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    guard !(prometheus && output.json) else {
      throw NBDSecureError(.usage, "--prometheus and --json exclude each other")
    }
    let found = try Attachments.status(of: devices)
    if prometheus {
      Diagnostics.printText(Metrics.exposition(of: found))
      return
    }
    if output.json {
      try Diagnostics.printJSON(found)
      return
    }
    if found.isEmpty, !common.quiet { Diagnostics.note("nothing is attached") }
    let blocks = found.map { status in
      [status.device] + Self.rows(status).map { Diagnostics.row("  " + $0, $1) }
    }
    Diagnostics.print(Array(blocks.joined(separator: [""])))
  }

  private static func rows(_ status: AttachmentStatus) -> [(String, String)] {
    var state = status.state
    if let since = status.since { state += " since \(TextForm.time(since))" }
    var rows = [("state", state)]
    if let name = status.name { rows.insert(("name", name), at: 0) }
    if status.state == "orphaned" {
      rows.append(("", "its supervisor is dead; attach with the same arguments adopts it"))
    }
    if status.state == "releasing" {
      rows.append(("", "disconnected; it goes when its last user has closed it"))
    }
    if status.state == "unknown" { rows.append(("", "its supervisor's state file is missing")) }
    if status.state != "connected", let error = status.lastError {
      rows.append(("last error", "\(error) (\(status.attempts ?? 0) attempts)"))
    }
    if let server = status.server { rows.append(("server", server)) }
    if let address = status.address { rows.append(("address", address)) }
    if let export = status.export {
      rows.append(("export", export.isEmpty ? "\"\" (default)" : export))
    }
    rows.append(
      ("size", TextForm.size(status.size) + (status.readOnly ? ", read-only" : "")))
    if let path = status.dataPath, let connections = status.connections {
      let plural = connections == 1 ? "connection" : "connections"
      rows.append(
        ("data path", "\(path), \(connections) \(plural), bound by \(status.binding ?? "?")"))
    }
    // Without a state file nobody knows what was proved.
    rows += status.server == nil ? [("TLS", "unknown")] : TextForm.rows(status.tls)
    rows += status.warnings.map { ("warning", $0) }
    let counters = status.counters
    rows.append(
      (
        "counters",
        "\(TextForm.bytes(counters.bytesRead)) read, \(TextForm.bytes(counters.bytesWritten)) "
          + "written, \(counters.flushes) flushes, \(counters.inFlight) in flight, "
          + "\(status.reconnections ?? 0) reconnections"
      ))
    if let pid = status.pid { rows.append(("supervisor", "process \(pid)")) }
    return rows
  }
}
