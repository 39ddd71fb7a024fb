// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import LinuxIO
import SystemPackage

/// A device that is attached now.
package struct AttachOutcome: Codable, Sendable, Hashable {
  /// How it came about.
  package enum Kind: String, Codable, Sendable {
    /// Attached now.
    case new
    /// It was attached and its supervisor dead; it has a supervisor again.
    case adopted
    /// It was attached with the same server, export and options.
    case existing
  }

  /// `/dev/nbdN`.
  package var device: String
  package var kind: Kind
}

/// What a supervisor in the background tells the process that started it: one message.
struct SupervisorMessage: Codable {
  var outcome: AttachOutcome?
  var code: String?
  var summary: String?
  var hint: String?

  /// Longer ones are no message of ours.
  static let limit = 1 << 16
}

/// Starts a supervisor in the background: this program again, as the leader of a session of its
/// own, and waits until its device is ready.
///
/// - Parameters:
///   - name: what this process was called as. The supervisor is called the same: one whose name
///     begins with `@` is left alone at shutdown (systemd.io/ROOT_STORAGE_DAEMONS).
///   - arguments: the command line of this process, its first element left out.
/// - Throws: `NBDSecureError`, the supervisor's.
package func attachInBackground(
  name: String?, arguments: [String]
) throws(NBDSecureError) -> AttachOutcome {
  let ours: Descriptor
  let child: SpawnedProcess
  do throws(Errno) {
    let pair = try SocketPair()
    let far = pair.second.release()
    defer { _ = Descriptor(owning: far) }
    let null = try openFile("/dev/null", flags: O_RDWR, mode: 0)
    // The verb, where it is given, stays first; the report's descriptor goes right behind it.
    var list = arguments
    list.insert("--report-to=3", at: arguments.first == "attach" ? 1 : 0)
    child = try SpawnedProcess(
      path: executablePath, name: name, arguments: list, environment: ThisProcess.environment,
      descriptors: [0: null.raw, 1: null.raw, 2: 2, 3: far], newSession: true)
    ours = pair.first
  } catch {
    throw NBDSecureError(.other, "cannot start the supervisor: \(error)", underlying: error)
  }
  var bytes: [UInt8] = []
  while let part = readPart(from: ours.raw), bytes.count < SupervisorMessage.limit {
    bytes += part
  }
  guard let message = try? JSONDecoder().decode(SupervisorMessage.self, from: Data(bytes)) else {
    let ending = try? child.wait(until: .after(seconds: 5))
    let how = ending.map { "\($0)" } ?? "no status"
    throw NBDSecureError(.other, "the supervisor ended without a word (\(how))")
  }
  if let outcome = message.outcome { return outcome }
  throw NBDSecureError(
    message.code.flatMap(NBDSecureError.Code.init(rawValue:)) ?? .other,
    message.summary ?? "the supervisor failed", hint: message.hint)
}

/// This program's file; the running one where it was replaced meanwhile.
private var executablePath: String {
  let running = "/proc/self/exe"
  guard let path = try? readLink(running), fileExists(path) else { return running }
  return path
}

/// What comes next; nil at the end.
private func readPart(from socket: Int32) -> [UInt8]? {
  var buffer = [UInt8](repeating: 0, count: 4096)
  while true {
    let transfer = unsafe buffer.withUnsafeMutableBytes { unsafe receive(socket, into: $0) }
    switch transfer {
    case .bytes(let count): return Array(buffer.prefix(count))
    case .wouldBlock: _ = try? wait(socket, for: .read, until: .never)
    case .closed, .failed: return nil
    }
  }
}

/// The supervisor's end: reports once, and notices when the process that waits for the report is
/// gone before.
package struct SupervisorReport: Sendable {
  /// Readable when nobody waits any more.
  package let descriptor: Int32

  package init(to descriptor: Int32) { self.descriptor = descriptor }

  /// The device is ready. Lets go of the caller's standard error and of the report itself.
  package func ready(_ outcome: AttachOutcome) {
    if let null = try? openFile("/dev/null", flags: O_RDWR, mode: 0) { _ = dup2(null.raw, 2) }
    send(SupervisorMessage(outcome: outcome))
  }

  /// It came to nothing.
  package func failed(_ error: NBDSecureError) {
    send(SupervisorMessage(code: error.code.rawValue, summary: error.summary, hint: error.hint))
  }

  private func send(_ message: SupervisorMessage) {
    guard let bytes = try? JSONEncoder().encode(message) else { return }
    try? sendAll(Array(bytes), to: descriptor, until: .after(seconds: 5))
    // The descriptor stays open for whoever watches it; the message ends here.
    _ = shutdown(descriptor, Int32(SHUT_WR))
  }
}
