// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// One way for a server, or somebody in between, to lie, and what the program must make of it.
struct Fault: Sendable, CustomTestStringConvertible {
  /// How the program must end.
  enum Ending: Sendable {
    /// With this status, and one line of error that says each of the words.
    case refused(Int32, [String])
    /// With success, and output that has each of the words.
    case accepted([String])
  }

  /// What the server may hear after the fault.
  enum Aftermath: Sendable {
    /// Not one byte.
    case nothing
    /// TLS alerts, no more.
    case alerts
    /// Nothing inside TLS; the session may be closed in good order.
    case silenceInTLS
    /// TLS handshake messages and alerts, no more.
    case handshake
    /// NBD_OPT_ABORT at most: an honest farewell.
    case abort
    /// Whatever an honest conversation has.
    case anything
  }

  let name: String
  var verb = ["info"]
  /// Options that give the credentials, `PKI:` before a path of the shared set; nil for its authority.
  var security: [String]?
  /// For silence: shorter than the time that the server would take.
  var connectTimeout = 120
  /// The longest that the program may take, seconds.
  var limit = 15.0
  let ending: Ending
  var aftermath = Aftermath.silenceInTLS
  /// Whether it is the client that has to end the connection.
  var clientCloses = true
  let script: FakeServer.Script

  var testDescription: String { name }

  /// The same, where the server itself tears the connection down.
  var endedByServer: Fault {
    var fault = self
    fault.clientCloses = false
    return fault
  }

  /// The script plays from the first byte.
  static func raw(
    _ name: String, verb: [String] = ["info"], security: [String]? = nil, connectTimeout: Int = 120,
    _ ending: Ending, _ aftermath: Aftermath = .nothing, _ script: @escaping FakeServer.Script
  ) -> Fault {
    Fault(
      name: name, verb: verb, security: security, connectTimeout: connectTimeout, ending: ending,
      aftermath: aftermath, script: script)
  }

  /// The script plays after an honest greeting, when the client has asked for TLS.
  static func startTLS(
    _ name: String, connectTimeout: Int = 120, _ ending: Ending, _ aftermath: Aftermath = .nothing,
    _ script: @escaping FakeServer.Script
  ) -> Fault {
    raw(name, connectTimeout: connectTimeout, ending, aftermath) { connection in
      try connection.greet()
      try connection.expect(Wire.Option.startTLS)
      try script(connection)
    }
  }

  /// The script plays inside an honest TLS session, when the client has sent its first option.
  static func inTLS(
    _ name: String, verb: [String] = ["info"], connectTimeout: Int = 120, priority: String? = nil,
    _ ending: Ending, _ aftermath: Aftermath = .silenceInTLS,
    _ script: @escaping FakeServer.Script
  ) -> Fault {
    raw(name, verb: verb, connectTimeout: connectTimeout, ending, aftermath) { connection in
      try connection.greet()
      var identity = try PKI.shared.get().identity
      if let priority { identity.priority = priority }
      try connection.acceptTLS(identity)
      _ = try connection.receiveOption()
      try script(connection)
    }
  }

  /// Plays it against the command, and records what deviates from the promise.
  ///
  /// - Parameter attempts: how often to begin anew where the script did not come to its fault: a
  ///   machine may stand still for longer than a short time limit.
  func play(attempts: Int = 1) throws {
    var wrong: [String] = []
    for _ in 0..<attempts {
      let seen = try deviations()
      wrong = seen.wrong
      if seen.isPlayed { break }
    }
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  private func deviations() throws -> (wrong: [String], isPlayed: Bool) {
    let server = try FakeServer(.ipv4, script)
    let pki = try PKI.shared.get()
    let credentials = (security ?? ["--tls-creds", "PKI:trust"]).map { option in
      option.hasPrefix("PKI:") ? pki.path(String(option.dropFirst(4))) : option
    }
    let endpoint: [String] = [
      "--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(server.port)",
      "--connect-timeout", "\(connectTimeout)",
    ]
    let seen: Outcome = try nbdSecure(verb + endpoint + credentials)
    var wrong: [String] = []
    switch ending {
    case .refused(let status, let words):
      wrong += seen.deviations(status: status, saying: words, within: limit)
    case .accepted(let words):
      if seen.ending != .exited(0) { wrong.append("refused: \(seen)") }
      for word in words where !seen.stdout.contains(word) { wrong.append("no \(word): \(seen)") }
    }
    let connection = try server.finished()
    wrong += aftermath.deviations(connection.record)
    if clientCloses, !connection.record.clientClosed { wrong.append("the client did not close") }
    if server.connections.count != 1 { wrong.append("connected again") }
    return (wrong, connection.record.fault != nil)
  }
}

extension Fault.Aftermath {
  private static let abortOption =
    Wire.be(Wire.optionMagic) + Wire.be(Wire.Option.abort) + Wire.be(UInt32(0))

  /// What the server heard and should not have.
  func deviations(_ record: FakeConnection.Record) -> [String] {
    var wrong: [String] = []
    if case .tls(let code, let text)? = record.failure, self != .anything, record.fault == nil {
      wrong.append("the script failed before its fault: \(code) \(text)")
    }
    guard let mark = record.fault else {
      return self == .anything ? wrong : wrong + ["the script did not come to its fault: \(record)"]
    }
    let wire = Array(record.wire[mark.wire...])
    let plaintext = Array(record.plaintext[mark.plaintext...])
    let decrypted = Array(record.decrypted[mark.decrypted...])
    switch self {
    case .nothing where !wire.isEmpty: wrong.append("followed on the wire: \(wire)")
    case .alerts where !Self.areAlerts(wire),
      .handshake where !Self.areAlerts(wire, orMessages: true):
      wrong.append("followed on the wire: \(wire)")
    case .silenceInTLS where !plaintext.isEmpty || !decrypted.isEmpty:
      wrong.append("followed: \(plaintext), in TLS \(decrypted)")
    case .abort where !plaintext.isEmpty && plaintext != Self.abortOption,
      .abort where !decrypted.isEmpty && decrypted != Self.abortOption:
      wrong.append("followed: \(plaintext), in TLS \(decrypted)")
    default: break
    }
    return wrong
  }

  /// Whole TLS records that carry an alert each: in the clear, or encrypted, which shows in TLS 1.3
  /// by their length alone (2 bytes, a type and a tag). No option of NBD is as short.
  private static func areAlerts(_ bytes: [UInt8], orMessages: Bool = false) -> Bool {
    var rest = bytes[...]
    while rest.count >= 5 {
      let header = Array(rest.prefix(5))
      let length = Int(header[3]) << 8 | Int(header[4])
      switch (header[0], length) {
      case (20, 1), (21, 2...26), (23, 19): break
      case (22, 1...2048) where orMessages: break
      default: return false
      }
      rest = rest.dropFirst(5 + length)
    }
    return rest.isEmpty
  }
}

extension FakeConnection {
  /// Begins a handshake that the client does not get to its end, and gives it up after so many seconds.
  func startTLSInVain(for seconds: Double) {
    let usual = patience
    defer { patience = usual }
    patience = seconds
    try? startTLS(PKI.shared.get().identity)
  }
}

/// What a session of TLS 1.2 alone is made with.
let onlyTLS12 = "NORMAL:-VERS-ALL:+VERS-TLS1.2"
