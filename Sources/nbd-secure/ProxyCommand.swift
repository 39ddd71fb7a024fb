// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LinuxIO
import NBDSecure

/// `nbd-secure proxy`: the export, for local NBD clients.
struct ProxyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "proxy",
    abstract: "Serve the export to local NBD clients on a Unix socket.")

  @OptionGroup(title: "Server options") var server: ServerOptions

  @Option(
    help: ArgumentHelp("Unix socket to serve the export on.", valueName: "path"),
    completion: .file())
  var listen: String

  @Option(help: ArgumentHelp("Permission bits of the socket.", valueName: "mode"))
  var socketMode = "0600"

  @Flag(help: "Serve read-only even where the export is writable.")
  var readOnly = false

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
      "Unflushed writes kept for a server that crashes, for each client; 0 keeps none.",
      valueName: "mib"))
  var flushWindow = AttachRequest.defaultFlushWindow

  @OptionGroup var common: CommonOptions

  private func request() throws(NBDSecureError) -> ProxyRequest {
    guard let mode = UInt32(socketMode, radix: 8) else {
      throw NBDSecureError(
        .usage, "--socket-mode \(socketMode): must be permission bits, such as 0600")
    }
    var request = ProxyRequest(try server.request(), listeningAt: listen)
    request.mode = mode
    request.readOnly = readOnly
    request.reconnectTimeout = reconnectTimeout
    request.ioTimeout = ioTimeout
    request.flushWindow = flushWindow
    try request.validate()
    return request
  }

  mutating func run() throws {
    let request = try request()
    let quiet = common.quiet
    let log = EventLog { priority, line in
      if !quiet || priority <= .warning { Diagnostics.note(line) }
    }
    let proxy = Proxy(request, log: log, warn: common.warn, trace: common.trace)
    try proxy.run {
      Diagnostics.print(request.path)
      ServiceNotification.ready(status: "serving at \(request.path)")
    }
  }
}
