// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
public import NBDSecure

extension AttachRequest.DataPath: ExpressibleByArgument {}
extension AttachRequest.Binding: ExpressibleByArgument {}

/// What a device is to be like, for `attach` and for what speaks of an attachment.
struct DeviceOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Device to use, nbd0 or /dev/nbd0. (default: the kernel picks)", valueName: "dev"),
    completion: Completion.devices)
  var device: String?

  @Flag(help: "Attach read-only even where the export is writable.")
  var readOnly = false

  @Option(help: ArgumentHelp("Parallel TLS connections.", valueName: "n"))
  var connections = 1

  @Option(help: "Through the userspace relay, or a kernel TLS socket.")
  var dataPath = AttachRequest.DataPath.auto

  @Option(help: "Kernel interface.")
  var binding = AttachRequest.Binding.auto

  @Option(
    help: ArgumentHelp(
      "Logical block size shown to the kernel. (default: the server's minimum, at least 512)",
      valueName: "bytes"))
  var blockSize: UInt32?

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
      "Unflushed writes kept for a server that crashes; 0 keeps none.", valueName: "mib"))
  var flushWindow = AttachRequest.defaultFlushWindow

  @Option(
    help: ArgumentHelp(
      "Attach what /etc/nbd-secure/attachments/NAME.toml describes, or the file of that path.",
      valueName: "name"),
    completion: Completion.attachments)
  var config: String?

  /// The attachment that these options ask for: from the server options, or from a file.
  func request(from server: ServerOptions) throws(NBDSecureError) -> AttachRequest {
    if let config {
      try refuseOptionsBesideConfig(server)
      return try NamedAttachment(config).request
    }
    return try request(from: server.connectionOptions)
  }

  /// The same from options that are checked for what they lack.
  func request(from options: ConnectionOptions) throws(NBDSecureError) -> AttachRequest {
    var request = AttachRequest(try ConnectionRequest(options))
    request.device = device
    request.readOnly = readOnly
    request.connections = connections
    request.dataPath = dataPath
    request.binding = binding
    request.blockSize = blockSize
    request.reconnectTimeout = reconnectTimeout
    request.ioTimeout = ioTimeout
    request.flushWindow = flushWindow
    try request.validate()
    return request
  }

  /// The file says all about the attachment: what stands beside it would be lost unseen.
  private func refuseOptionsBesideConfig(_ server: ServerOptions) throws(NBDSecureError) {
    let allowed: Set<Substring> = [
      "--config", "--foreground", "--report-to", "--verbose", "--quiet", "--json",
    ]
    let options = CommandLine.arguments.dropFirst().filter { $0.hasPrefix("-") }
      .map { $0.prefix { $0 != "=" } }
    let other =
      options.first { !allowed.contains($0) && !$0.dropFirst().allSatisfy { $0 == "v" } }
      ?? server.endpoint.map { $0[...] }
    guard let other else { return }
    throw NBDSecureError(
      .usage, "\(other) cannot be combined with --config",
      hint: "write it into the attachment's file")
  }
}
