// SPDX-License-Identifier: Apache-2.0

/// A wish to copy between an export and a file: what the options of `copy` say.
public struct CopyRequest: Sendable, Hashable {
  /// Which way the bytes go.
  public enum Direction: String, Codable, Sendable {
    /// From the export to the file.
    case download
    /// From the file to the export.
    case upload
  }

  public static let maximumConnections = 16
  public static let maximumRequests = 64

  public var connection: ConnectionRequest
  public var direction: Direction
  /// A file, a block device, or "-" for the standard stream.
  public var file: String
  /// Most connections; nil takes `CopyLimits.connections` where the server allows several.
  public var connections: Int?
  /// Requests in flight on each connection.
  public var requests = CopyLimits.requests
  /// Whether a file that exists, or a block device, may be overwritten.
  public var force = false
  /// Whether to go on where an interrupted copy was.
  public var resume = false
  /// Whether to read both sides again and compare them.
  public var verify = false
  /// Whether a source that ends before the export does is enough.
  public var allowShorter = false
  /// A server silent for so long counts as a lost connection, seconds.
  public var ioTimeout: Double = 60

  /// Copies as the defaults of the options say.
  public init(_ connection: ConnectionRequest, _ direction: Direction, file: String) {
    self.connection = connection
    self.direction = direction
    self.file = file
  }

  /// Whether the local side is a standard stream by name.
  public var isStandardStream: Bool { file == "-" }

  /// Checks the numbers and that the options go together.
  ///
  /// - Throws: `NBDSecureError` with `.usage`.
  public func validate() throws(NBDSecureError) {
    guard !file.isEmpty, !file.utf8.contains(0) else { throw usage("the file has no name") }
    if let connections, !(1...Self.maximumConnections).contains(connections) {
      throw usage("--connections \(connections): must be between 1 and \(Self.maximumConnections)")
    }
    guard (1...Self.maximumRequests).contains(requests) else {
      throw usage("--requests \(requests): must be between 1 and \(Self.maximumRequests)")
    }
    guard (1...86400).contains(ioTimeout) else {
      throw usage("--io-timeout: must be between 1 and 86400 seconds")
    }
    if direction == .download, allowShorter {
      throw usage("--allow-shorter goes with copying to a server")
    }
    if direction == .upload, force {
      throw usage("--force goes with copying to a file")
    }
    if isStandardStream {
      for (given, name) in [(resume, "--resume"), (verify, "--verify"), (force, "--force")]
      where given {
        throw usage("\(name) needs a file: a standard stream cannot be read again")
      }
    }
  }
}

/// Bounds of a copy; docs/DEFAULTS.md says why each is what it is.
public enum CopyLimits {
  /// Connections unless `--connections` says otherwise.
  public static let connections = 4
  /// Requests in flight on each connection unless `--requests` says otherwise.
  public static let requests = 16
  /// Longest READ and WRITE, bytes: a multiple of every block size.
  static let piece: UInt64 = 512 << 10
  /// Longest WRITE_ZEROES, and hole made at once, bytes.
  static let zeroPiece: UInt64 = 32 << 20
  /// Longest NBD_CMD_BLOCK_STATUS, bytes.
  static let statusPiece: UInt64 = 1 << 30
  /// Mapped bytes below which the next block status is asked for.
  static let mappedAhead: UInt64 = 256 << 20
  /// Runs of zeroes in data are left out of files from this length on, bytes.
  static let fileGranularity: UInt64 = 4096
  /// Runs of zeroes in data become WRITE_ZEROES from this length on, bytes: the largest block size.
  static let zeroGranularity: UInt64 = 64 << 10
  /// Seconds between two records of what is done.
  static let checkpointInterval: Double = 2
  /// Longest side file that is read, bytes.
  static let sideFile = 64 << 20
}

/// What a copy came to.
public struct CopyReport: Sendable, Hashable {
  /// Bytes that the copy has, holes included.
  public var size: UInt64
  /// Bytes that an earlier copy had done.
  public var resumed: UInt64
  public var seconds: Double
  public var connections: Int
  public var verified: Bool
}

/// How far a copy is.
public struct CopyProgress: Sendable, Hashable {
  /// What is being done.
  public enum Phase: Sendable { case copying, flushing, verifying }

  public var phase: Phase
  /// Bytes of `total`.
  public var done: UInt64
  /// Nil where the source's length is not known.
  public var total: UInt64?
  /// Bytes for each second, lately.
  public var rate: Double
  /// Seconds to go at this rate; nil where nobody can tell.
  public var remaining: Double?
}
