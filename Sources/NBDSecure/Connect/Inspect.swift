// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol

/// One export that a server offers.
public struct ListedExport: Codable, Sendable, Hashable {
  public var name: String
  public var description: String?
}

/// One export and how it was reached.
public struct ExportReport: Codable, Sendable, Hashable {
  /// Block size constraints that the server announced, bytes.
  public struct Blocks: Codable, Sendable, Hashable {
    public var minimum: UInt32
    public var preferred: UInt32
    public var maximum: UInt32
  }

  public var server: String
  public var address: String
  public var export: String
  public var canonicalName: String?
  public var description: String?
  /// Bytes.
  public var size: UInt64
  public var readOnly: Bool
  /// What the server can do, in the protocol's words.
  public var flags: [String]
  public var blockSizes: Blocks?
  /// Nil in plaintext, which was explicitly allowed.
  public var tls: TLSReport?
}

/// Asks servers about their exports, with the same checks as an attachment.
public struct Inspection: Sendable {
  private let connector: Connector

  /// - Parameters:
  ///   - request: which server, and how to trust it.
  ///   - warn: hears what the user should know although it is no error.
  ///   - trace: hears each step of the negotiation; never key material.
  public init(
    _ request: ConnectionRequest, warn: @escaping @Sendable (String) -> Void = { _ in },
    trace: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    connector = Connector(request: request, trace: trace, warn: warn)
  }

  /// The exports that the server offers (NBD_OPT_LIST).
  public func list() throws(NBDSecureError) -> [ListedExport] {
    let connection = try connector.open(.list)
    connection.part()
    guard case .listing(let exports) = connection.verdict else { return [] }
    return exports.map { ListedExport(name: $0.name, description: $0.description) }
  }

  /// One export (NBD_OPT_INFO), and what the TLS session proved.
  public func info() throws(NBDSecureError) -> ExportReport {
    let name = try connector.request.endpoint.exportName()
    let connection = try connector.open(.info(name))
    connection.part()
    guard let export = connection.export else {
      throw NBDSecureError(.protocolViolation, "\(connector.request.endpoint): no export")
    }
    return ExportReport(export, connection, connector.request.endpoint)
  }
}

extension ExportReport {
  init(_ export: Export, _ connection: Connection, _ endpoint: Endpoint) {
    self.init(
      server: endpoint.server, address: "\(connection.address)", export: export.name.string,
      canonicalName: export.canonicalName, description: export.description, size: export.size,
      readOnly: export.flags.contains(.readOnly), flags: export.flags.names,
      blockSizes: export.blockSizes.map {
        Blocks(minimum: $0.minimum, preferred: $0.preferred, maximum: $0.maximum)
      },
      tls: connection.facts.map(TLSReport.init))
  }
}

extension Endpoint {
  /// The export, in the protocol's form.
  ///
  /// - Throws: `NBDSecureError` with `.usage` for a name that is none.
  func exportName() throws(NBDSecureError) -> ExportName {
    do { return try ExportName(export) } catch { throw usage("--export: \(error)") }
  }
}

extension Connection {
  /// Parts from a server that is of no more use, in an orderly way.
  func part() {
    let deadline = Deadline.after(seconds: 2)
    if let farewell {
      unsafe farewell.withUnsafeBytes { bytes in
        _ = try? unsafe channel.send(bytes)
        _ = try? channel.flush()
      }
    }
    channel.close(by: deadline)
  }
}

extension ExportFlags {
  /// The names of what is set, without `NBD_FLAG_`.
  var names: [String] {
    let known: [(ExportFlags, String)] = [
      (.readOnly, "READ_ONLY"), (.sendFlush, "SEND_FLUSH"), (.sendFUA, "SEND_FUA"),
      (.rotational, "ROTATIONAL"), (.sendTrim, "SEND_TRIM"),
      (.sendWriteZeroes, "SEND_WRITE_ZEROES"), (.sendDF, "SEND_DF"),
      (.canMultiConn, "CAN_MULTI_CONN"), (.sendResize, "SEND_RESIZE"),
      (.sendCache, "SEND_CACHE"), (.sendFastZero, "SEND_FAST_ZERO"),
    ]
    return known.filter { contains($0.0) }.map(\.1)
  }
}
