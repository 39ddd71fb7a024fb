// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// `nbd-secure copy`: between an export and a file.
struct CopyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "copy", abstract: "Copy an export to a file, or a file to an export.",
    usage: """
      nbd-secure copy [<options>] <uri> <file>
      nbd-secure copy [<options>] <file> <uri>
      nbd-secure copy [<options>] --hostname <hostname> (--to <file> | --from <file>)
      """,
    discussion: """
      The source comes first: one of the two is an NBD URI, the other a file, a block device, or - \
      for the standard stream. Where options name the server, --to or --from names the file.
      """)

  @OptionGroup(title: "Server options") var server: ServerOptions

  @Argument(
    help: ArgumentHelp("Where the copy goes.", valueName: "destination"), completion: .file())
  var destination: String?

  @Option(
    help: ArgumentHelp("Copy the export to this file; - is standard output.", valueName: "file"),
    completion: .file())
  var to: String?

  @Option(
    help: ArgumentHelp("Copy this file to the export; - is standard input.", valueName: "file"),
    completion: .file())
  var from: String?

  @Option(
    help: ArgumentHelp(
      "Parallel TLS connections. (default: \(CopyLimits.connections) where the server allows several)",
      valueName: "n"))
  var connections: Int?

  @Option(help: ArgumentHelp("Requests in flight on each connection.", valueName: "n"))
  var requests = CopyLimits.requests

  @Flag(help: "Overwrite a file that exists, or a block device.")
  var force = false

  @Flag(help: "Go on where an interrupted copy was.")
  var resume = false

  @Flag(help: "Read both sides again, and compare.")
  var verify = false

  @Flag(help: "Take a source that is shorter than the export; the rest of it stays as it is.")
  var allowShorter = false

  @Option(
    help: ArgumentHelp(
      "A server silent for so long counts as a lost connection.", valueName: "seconds"))
  var ioTimeout: Double = 60

  @OptionGroup var common: CommonOptions

  mutating func run() throws {
    var request = try request()
    request.connections = connections
    request.requests = requests
    request.force = force
    request.resume = resume
    request.verify = verify
    request.allowShorter = allowShorter
    request.ioTimeout = ioTimeout
    let bar = common.quiet ? nil : ProgressBar()
    defer { bar?.clear() }
    let copy = Copy(
      request, warn: common.warn, trace: common.trace, progress: bar.map { bar in bar.show })
    Interruption.watch {
      bar?.clear()
      Diagnostics.report(
        NBDSecureError(
          .other, "copy: interrupted",
          hint: copy.canBeResumed ? "--resume goes on where this copy was interrupted" : nil))
    }
    let report = try copy.run()
    bar?.clear()
    common.trace(Self.summary(report))
  }

  /// Which of the arguments is the export, and which way the bytes go.
  private func request() throws -> CopyRequest {
    let hint = "nbd-secure copy SOURCE DESTINATION, one of them an NBD URI"
    var server = server
    let first = server.endpoint
    guard to == nil || from == nil else {
      throw NBDSecureError(.usage, "--to and --from exclude each other")
    }
    if let file = to ?? from {
      if destination != nil {
        throw NBDSecureError(
          .usage, "--to and --from take the place of the second argument", hint: hint)
      }
      if let first, !Self.isURI(first) {
        throw NBDSecureError(.usage, "\(first): not an NBD URI", hint: hint)
      }
      return CopyRequest(try server.request(), to == nil ? .upload : .download, file: file)
    }
    guard let first, let second = destination else {
      throw NBDSecureError(
        .usage, "source or destination is missing",
        hint: hint + "; with --hostname: --to FILE or --from FILE")
    }
    switch (Self.isURI(first), Self.isURI(second)) {
    case (true, false): return CopyRequest(try server.request(), .download, file: second)
    case (false, true):
      server.endpoint = second
      return CopyRequest(try server.request(), .upload, file: first)
    case (true, true):
      throw NBDSecureError(.usage, "source and destination are both NBD URIs", hint: hint)
    case (false, false):
      throw NBDSecureError(.usage, "neither source nor destination is an NBD URI", hint: hint)
    }
  }

  private static func isURI(_ text: String) -> Bool {
    let scheme = text.prefix { $0 != ":" }.lowercased()
    return ["nbd", "nbds", "nbd+unix", "nbds+unix", "nbd+vsock", "nbds+vsock"].contains(scheme)
      && text.dropFirst(scheme.count).hasPrefix("://")
  }

  private static func summary(_ report: CopyReport) -> String {
    let moved = report.size - min(report.size, report.resumed)
    let rate = report.seconds > 0 ? UInt64(Double(moved) / report.seconds) : 0
    return "copied \(TextForm.size(report.size)) over \(report.connections) connections, "
      + "\(TextForm.bytes(rate))/s" + (report.verified ? ", verified" : "")
  }
}
