// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import LinuxIO
import NBDKernel
import SystemPackage

/// What a supervisor says of its attachment: the state file `/run/nbd-secure/nbdN.json`. Never a
/// secret. It is checked against the kernel before it is believed.
public struct AttachmentState: Codable, Sendable, Hashable {
  /// How the link to the server is.
  public enum Link: String, Codable, Sendable, CaseIterable {
    case connected, reconnecting, failed
    /// Kernel TLS without a process: nobody watches.
    case unsupervised
  }

  public var device: String
  /// The attachment's name, where it has one.
  public var name: String?
  public var pid: Int32
  public var server: String
  public var address: String
  public var export: String
  public var identifier: String
  /// The options, in a form that compares.
  public var options: String
  public var size: UInt64
  public var readOnly: Bool
  public var blockSize: UInt32
  public var connections: Int
  public var dataPath: String
  public var binding: String
  public var link: Link
  /// When the link got into this state, seconds since 1970.
  public var since: Int64
  public var attachedSince: Int64
  /// Attempts to reconnect since the link was lost.
  public var attempts = 0
  public var lastError: String?
  public var reconnections = 0
  public var tls: TLSReport?
  public var reconnectTimeout: Double
  public var ioTimeout: Double
  /// What a server must still offer when the device is adopted.
  var exported: RecordedExport?
  /// The kernel TLS connections.
  var sockets: [RecordedSocket] = []

  /// Whether the recorded connections all live.
  var hasLiveSockets: Bool { !sockets.isEmpty && sockets.allSatisfy(\.isAlive) }

  /// What needs somebody's care at this time, seconds since 1970.
  func warnings(at now: Int64 = secondsSince1970()) -> [String] {
    guard let tls else { return [] }
    return [
      ("the server's certificate \(tls.subject ?? "")", tls.notAfter),
      ("our certificate \(tls.clientSubject ?? "")", tls.clientNotAfter),
    ].compactMap { certificate, end in
      end.flatMap { Expiry.warning("\(server): \(certificate)", notAfter: $0, now: now) }
    }
  }
}

/// A TCP connection that the kernel holds for an attachment without a process.
struct RecordedSocket: Codable, Sendable, Hashable {
  var localHost: String
  var localPort: UInt16
  var peerHost: String
  var peerPort: UInt16
  var inode: UInt64

  init(_ connection: TCPConnection) {
    localHost = connection.local.host
    localPort = UInt16(truncatingIfNeeded: connection.local.port ?? 0)
    peerHost = connection.peer.host
    peerPort = UInt16(truncatingIfNeeded: connection.peer.port ?? 0)
    inode = connection.inode
  }

  /// Whether the kernel still has this very connection, established (sock_diag(7)).
  var isAlive: Bool { (try? connection?.state()) == .established }

  /// Ends it, whoever holds it; whether it is gone.
  func destroy() -> Bool { connection?.destroy() ?? true }

  private var connection: TCPConnection? {
    guard let local = SocketAddress(numeric: localHost, port: localPort),
      let peer = SocketAddress(numeric: peerHost, port: peerPort)
    else { return nil }
    return TCPConnection(local: local, peer: peer, inode: inode)
  }
}

/// What a TLS session proved, as `status` and `info` tell it.
public struct TLSReport: Codable, Sendable, Hashable {
  public var version: String
  public var cipher: String
  public var keyExchange: String
  public var group: String?
  /// "x509" or "psk".
  public var authentication: String
  public var verifiedName: String?
  public var pskIdentity: String?
  public var subject: String?
  public var issuer: String?
  public var names: [String] = []
  /// Seconds since 1970.
  public var notBefore: Int64?
  /// Seconds since 1970.
  public var notAfter: Int64?
  /// "sha256:" and the digest of the server's public key, as `--tls-pin` takes it.
  public var pin: String?
  /// Whether we showed a client certificate.
  public var clientCertificate = false
  /// Whose certificate that was.
  public var clientSubject: String?
  /// When it ends, seconds since 1970.
  public var clientNotAfter: Int64?
}

/// The directory of state files and locks.
struct StateDirectory: Sendable {
  static let standard = StateDirectory(path: "/run/nbd-secure")
  private static let limit = 1 << 20

  let path: String

  func prepare() throws(NBDSecureError) {
    do {
      try makeDirectory(path, mode: 0o755)
      let facts = try FileFacts(path: path, followLinks: false)
      guard facts.isDirectory, facts.user == ThisProcess.effectiveUser, facts.mode & 0o022 == 0
      else {
        throw NBDSecureError(
          .forbidden, "\(path): not a directory of ours, or writable by others",
          hint: "remove it; nbd-secure makes it anew")
      }
    } catch let error as Errno {
      throw NBDSecureError(.other, "\(path): cannot be used: \(error)", underlying: error)
    } catch let error as NBDSecureError {
      throw error
    } catch {
      throw NBDSecureError(.other, "\(path): cannot be used: \(error)")
    }
  }

  private func file(of device: String) -> String { "\(path)/\(device).json" }

  /// The lock that the living supervisor of an attachment holds.
  func lock(of identifier: String) -> String { "\(path)/\(identifier.prefix(16)).lock" }

  /// The times of its requests, where they go through a relay.
  func latency(of identifier: String) -> String { "\(path)/\(identifier.prefix(16)).latency" }

  func write(_ state: AttachmentState) throws(NBDSecureError) {
    do {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      let bytes = Array(try encoder.encode(state))
      try OwnFile.replace(file(of: state.device), bytes, mode: 0o644)
    } catch {
      throw NBDSecureError(.other, "\(file(of: state.device)): cannot be written: \(error)")
    }
  }

  /// The state file of a device; nil when there is none or it makes no sense.
  func read(_ device: String) -> AttachmentState? {
    guard let contents = try? readFile(file(of: device), limit: Self.limit) else { return nil }
    return try? JSONDecoder().decode(AttachmentState.self, from: Data(contents.bytes))
  }

  /// All state files.
  func all() -> [AttachmentState] {
    let names = (try? listDirectory(path)) ?? []
    return names.filter { $0.hasSuffix(".json") }.sorted().compactMap {
      read(String($0.dropLast(5)))
    }
  }

  /// Removes the lock's file while it is still held, so that nobody waits for a file that is gone.
  func removeLock(of identifier: String, _ held: borrowing LockFile) {
    _ = try? removeFile(lock(of: identifier))
    try? OwnFile.remove(latency(of: identifier))
  }

  /// Removes what a dead supervisor left.
  func removeLeftovers(of state: AttachmentState) {
    remove(state.device)
    _ = try? removeFile(lock(of: state.identifier))
    try? OwnFile.remove(latency(of: state.identifier))
  }

  func remove(_ device: String) { try? OwnFile.remove(file(of: device)) }

  /// Whether a living supervisor holds the attachment's lock.
  func isSupervised(_ identifier: String) -> Bool { supervisor(of: identifier) != nil }

  /// The living supervisor, which holds the attachment's lock.
  func supervisor(of identifier: String) -> Int32? {
    (try? LockFile.holder(of: lock(of: identifier))) ?? nil
  }
}
