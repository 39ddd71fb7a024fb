// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// What every verb takes.
struct CommonOptions: ParsableArguments {
  @Flag(name: .shortAndLong, help: "Trace the negotiation to standard error; twice: with times.")
  var verbose: Int

  @Flag(help: "Print no warnings.")
  var quiet = false

  var trace: @Sendable (String) -> Void {
    guard verbose > 0 else { return { _ in } }
    guard verbose > 1 else { return { line in Diagnostics.trace(line) } }
    let start = ContinuousClock.now
    return { line in
      let (seconds, fraction) = (ContinuousClock.now - start).components
      let thousandths = String(1000 + fraction / 1_000_000_000_000_000).dropFirst()
      Diagnostics.trace("\(seconds).\(thousandths) \(line)")
    }
  }

  var warn: @Sendable (String) -> Void {
    guard !quiet else { return { _ in } }
    return { line in Diagnostics.note("warning: \(line)") }
  }
}

/// How to reach and to trust a server.
struct ServerOptions: ParsableArguments {
  @Argument(help: "NBD URI of the export (or name the server with --hostname).")
  var endpoint: String?

  @Option(help: "Server to connect to, and the name its certificate must carry.")
  var hostname: String?

  @Option(help: "TCP port. (default: 10809)")
  var port: Int?

  @Option(
    help: ArgumentHelp(
      "Connect here instead; the host name stays the verified name.", valueName: "addr"))
  var address: String?

  @Option(help: ArgumentHelp("Connect to a Unix socket.", valueName: "path"), completion: .file())
  var unix: String?

  @Option(help: ArgumentHelp("Connect to a vsock.", valueName: "cid[:port]"))
  var vsock: String?

  @Option(
    help: ArgumentHelp("Name to verify when it differs from where we connect.", valueName: "name"))
  var tlsHostname: String?

  @Option(
    name: [.long, .customShort("x")],
    help: ArgumentHelp("Export name. (default: the server's default export)", valueName: "name"))
  var export: String?

  @Option(
    help: ArgumentHelp("Directory of x509 credentials, or with keys.psk.", valueName: "dir"),
    completion: .directory)
  var tlsCreds: String?

  @Option(help: ArgumentHelp("File of pre-shared keys.", valueName: "file"), completion: .file())
  var pskFile: String?

  @Option(help: ArgumentHelp("The line of the pre-shared key file to use.", valueName: "name"))
  var pskIdentity: String?

  @Option(
    help: ArgumentHelp("File with the password of an encrypted client key.", valueName: "file"),
    completion: .file())
  var tlsKeyPasswordFile: String?

  @Option(
    help: ArgumentHelp(
      "Oldest TLS version offered: 1.2 or 1.3. (default: 1.2)", valueName: "version"),
    completion: .list(["1.2", "1.3"]))
  var tlsMinVersion: String?

  @Option(
    help: ArgumentHelp(
      "GnuTLS priority string; can only narrow what the program allows.", valueName: "string"))
  var tlsPriority: String?

  @Option(
    help: ArgumentHelp(
      "The server's public key must be one of these (repeatable).", valueName: "sha256:hex"))
  var tlsPin: [String] = []

  @Flag(help: "Permit a connection without TLS; never a fallback.")
  var allowPlaintext = false

  @Option(
    help: ArgumentHelp("One more policy file; can only restrict further.", valueName: "file"),
    completion: .file(extensions: ["toml"]))
  var policy: [String] = []

  @Option(
    help: ArgumentHelp(
      "Bound on everything from the name lookup to the last option reply.", valueName: "seconds"))
  var connectTimeout: Double = ConnectionRequest.defaultConnectTimeout

  /// The options, unchecked.
  var connectionOptions: ConnectionOptions {
    var options = ConnectionOptions()
    options.endpoint = endpoint
    options.hostname = hostname
    options.port = port
    options.address = address
    options.unix = unix
    options.vsock = vsock
    options.tlsHostname = tlsHostname
    options.export = export
    options.tlsCredentials = tlsCreds
    options.pskFile = pskFile
    options.pskIdentity = pskIdentity
    options.tlsKeyPasswordFile = tlsKeyPasswordFile
    options.tlsMinimumVersion = tlsMinVersion
    options.tlsPriority = tlsPriority
    options.tlsPins = tlsPin
    options.allowPlaintext = allowPlaintext
    options.policyFiles = policy
    options.connectTimeout = connectTimeout
    return options
  }

  /// The options, checked.
  func request() throws(NBDSecureError) -> ConnectionRequest {
    try ConnectionRequest(connectionOptions)
  }
}

/// A verb's option for machines.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Print JSON.")
  var json = false
}
