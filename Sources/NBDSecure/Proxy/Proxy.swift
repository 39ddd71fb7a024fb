// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDProtocol
import SystemPackage

/// Serves an export to local clients on a Unix socket: what `proxy` does from start to end.
package struct Proxy {
  let request: ProxyRequest
  let log: EventLog
  let warn: @Sendable (String) -> Void
  let trace: @Sendable (String) -> Void

  package init(
    _ request: ProxyRequest, log: EventLog, warn: @escaping @Sendable (String) -> Void,
    trace: @escaping @Sendable (String) -> Void
  ) {
    self.request = request
    self.log = log
    // Each client's connection is made with the same files: they are warned of once.
    let news = Novelties(warn)
    self.warn = { line in news.say(line) }
    self.trace = trace
  }

  /// Connects, listens, calls `ready`, and serves clients until SIGTERM or SIGINT.
  ///
  /// The first connection is made before the socket is: what is wrong with the server shows here,
  /// and what it says of the export holds for all clients and all later connections.
  ///
  /// - Throws: `NBDSecureError`; no socket is left behind then.
  package func run(ready: () -> Void) throws(NBDSecureError) {
    try ListeningSocket.check(request.path)
    var connector = Connector(request: request.connection, trace: trace, warn: warn)
    connector.use = ConnectionUse(dataPaths: [.relay], readOnly: request.readOnly)
    let connection = try connector.open(.attach(try exportName()))
    guard let export = connection.export else {
      throw NBDSecureError(.protocolViolation, "\(request.connection.endpoint): no export")
    }
    let offer = ProxyOffer(
      export: export, readOnly: request.readOnly || connection.policy.readOnly)
    connector.use.bind(to: connection)
    connector.use.settle(
      writable: !offer.export.flags.contains(.readOnly), dataPath: .relay)
    let signals = try system("take signals") { () throws(Errno) in
      try SignalQueue([SIGTERM, SIGINT, SIGHUP])
    }
    let socket = try ListeningSocket.listen(at: request.path, mode: request.mode)
    let failure: NBDSecureError?
    do throws(NBDSecureError) {
      let server = try ProxyServer(
        request: request, connector: connector, connection: connection, export: export,
        offer: offer, log: log, trace: trace)
      log.write(.info, "\(request.path): serving \(request.connection.endpoint)")
      ready()
      try server.run(listener: socket.descriptor.raw, signals: signals)
      failure = nil
    } catch { failure = error }
    socket.remove()
    if let failure { throw failure }
    log.write(.info, "\(request.path): ended")
  }

  private func exportName() throws(NBDSecureError) -> ExportName {
    do { return try ExportName(request.connection.endpoint.export) } catch {
      throw usage("--export: \(error)")
    }
  }
}

/// What local clients are told of the export.
struct ProxyOffer {
  let export: Export
  let blockSizes: BlockSizes
  /// How many clients may be in the transmission phase at once.
  let seats: Int

  /// The server's export, with the relay's limits.
  init(export: Export, readOnly: Bool) {
    let known = export.blockSizes ?? .assumed
    // Of a server that says nothing, the end of the export may be reached only byte by byte.
    let isWhole = export.size % UInt64(known.minimum) == 0
    let minimum = export.blockSizes == nil && !isWhole ? 1 : known.minimum
    let limit = min(known.maximum, Relay.Limits.maximumRequest)
    let sizes = try? BlockSizes(
      minimum: minimum, preferred: min(known.preferred, Relay.Limits.maximumRequest),
      maximum: limit / minimum * minimum)
    blockSizes = sizes ?? .assumed
    var flags = export.flags
    if readOnly { flags.insert(.readOnly) }
    self.export = Export(
      name: export.name, canonicalName: export.canonicalName, description: export.description,
      size: export.size, flags: flags)
    seats = flags.contains(.canMultiConn) ? ProxyLimits.clients : 1
  }
}
