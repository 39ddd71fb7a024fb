// SPDX-License-Identifier: Apache-2.0

/// What an attachment's file says, key by key; whether it makes sense together is checked later.
struct AttachmentSettings {
  /// The keys, in the order of the manual.
  static let keys = [
    "uri", "hostname", "port", "address", "unix", "vsock", "tls-hostname", "export", "tls-creds",
    "psk-file", "psk-identity", "tls-key-password-file", "tls-min-version", "tls-priority",
    "tls-pin", "allow-plaintext", "policy", "connect-timeout", "device", "read-only",
    "connections", "data-path", "binding", "block-size", "reconnect-timeout", "io-timeout",
    "flush-window",
  ]

  var connection = ConnectionOptions()
  private var device: String?
  private var readOnly = false
  private var connections: Int?
  private var dataPath: AttachRequest.DataPath?
  private var binding: AttachRequest.Binding?
  private var blockSize: UInt32?
  private var reconnectTimeout: Double?
  private var ioTimeout: Double?
  private var flushWindow: Int?

  init(parsing text: String, file: String) throws(PolicyError) {
    var reader = try PolicyReader(parsing: text, file: file)
    connection.usesHostCredentialsOnly = true
    try readServer(&reader)
    try readTrust(&reader)
    device = try reader.string("device")
    readOnly = try reader.boolean("read-only") ?? false
    connections = try reader.integer(
      "connections", in: 1...Int64(AttachRequest.maximumConnections)
    ).map { Int($0) }
    dataPath = try reader.word("data-path")
    binding = try reader.word("binding")
    blockSize = try reader.integer("block-size", in: 512...65536).map { UInt32($0) }
    reconnectTimeout = try reader.integer("reconnect-timeout", in: 0...86400).map { Double($0) }
    ioTimeout = try reader.integer("io-timeout", in: 1...86400).map { Double($0) }
    flushWindow = try reader.integer("flush-window", in: 0...1024).map { Int($0) }
    try reader.finish(known: Self.keys)
  }

  private mutating func readServer(_ reader: inout PolicyReader) throws(PolicyError) {
    connection.endpoint = try reader.string("uri")
    connection.hostname = try reader.string("hostname")
    connection.port = try reader.integer("port", in: 1...65535).map { Int($0) }
    connection.address = try reader.string("address")
    connection.unix = try Self.path("unix", &reader)
    connection.vsock = try reader.string("vsock")
    connection.export = try reader.string("export")
    if let seconds = try reader.integer("connect-timeout", in: 1...86400) {
      connection.connectTimeout = Double(seconds)
    }
  }

  private mutating func readTrust(_ reader: inout PolicyReader) throws(PolicyError) {
    connection.tlsHostname = try reader.string("tls-hostname")
    connection.tlsCredentials = try Self.path("tls-creds", &reader)
    connection.pskFile = try Self.path("psk-file", &reader)
    connection.pskIdentity = try reader.string("psk-identity")
    connection.tlsKeyPasswordFile = try Self.path("tls-key-password-file", &reader)
    connection.tlsMinimumVersion = try reader.string("tls-min-version")
    connection.tlsPriority = try reader.string("tls-priority")
    connection.tlsPins = try reader.list("tls-pin", of: "strings") { $0 } ?? []
    connection.allowPlaintext = try reader.boolean("allow-plaintext") ?? false
    connection.policyFiles =
      try reader.list("policy", of: "absolute paths") { $0.hasPrefix("/") ? $0 : nil } ?? []
  }

  /// A service has no working directory that its administrator would think of.
  private static func path(
    _ key: String, _ reader: inout PolicyReader
  ) throws(PolicyError) -> String? {
    guard let path = try reader.string(key) else { return nil }
    guard path.hasPrefix("/") else { throw reader.error(key, "must be an absolute path") }
    return path
  }

  func apply(to request: inout AttachRequest) {
    request.device = device
    request.readOnly = readOnly
    if let connections { request.connections = connections }
    if let dataPath { request.dataPath = dataPath }
    if let binding { request.binding = binding }
    request.blockSize = blockSize
    if let reconnectTimeout { request.reconnectTimeout = reconnectTimeout }
    if let ioTimeout { request.ioTimeout = ioTimeout }
    if let flushWindow { request.flushWindow = flushWindow }
  }
}
