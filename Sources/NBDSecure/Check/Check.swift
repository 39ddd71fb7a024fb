// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import Synchronization
import TLS

/// Says what an attachment would come to, without attaching anything. Needs no root.
///
/// It goes the way that an attachment goes, with the same code: what it says is what would happen.
public enum Check {
  /// Examines this host: kernel, credentials and policy files.
  ///
  /// - Parameters:
  ///   - options: their credentials and policy files count.
  ///   - request: makes of them what would be attached, with a stand-in for the server that is not
  ///     named: what is wrong with the other options is told all the same.
  /// - Throws: `NBDSecureError` with `.usage`; all else is in the report.
  public static func host(
    _ options: ConnectionOptions,
    _ request: (ConnectionOptions) throws(NBDSecureError) -> AttachRequest
  ) throws(NBDSecureError) -> CheckReport {
    for (option, isGiven) in [
      ("--port", options.port != nil), ("--address", options.address != nil),
      ("--export", options.export != nil), ("--tls-hostname", options.tlsHostname != nil),
    ] where isGiven {
      throw usage("\(option): no server named", hint: "name it with --hostname, or give a URI")
    }
    var named = options
    named.hostname = "localhost"
    var report = CheckReport()
    do throws(NBDSecureError) {
      let wanted = try request(named)
      _ = try wanted.device.map { text throws(NBDSecureError) in try deviceIndex(text) }
      report.examineKernel(for: nil)
      report.examineCredentials(wanted.connection.credentials, wanted.connection.credentialOrigin)
    } catch {
      guard error.code != .usage else { throw error }
      report.examineKernel(for: nil)
      report.fail(.credentials, error)
    }
    _ = report.examinePolicy(files: options.policyFiles.map(absolutePath))
    return report
  }

  /// Examines an attachment, with a handshake where nothing stands against it before.
  ///
  /// - Parameters:
  ///   - options: what `request` is made of, for what can be said where that fails.
  ///   - trace: hears each step of the negotiation; never key material.
  ///   - request: makes the request; what it throws becomes a part of the report.
  /// - Throws: `NBDSecureError` with `.usage`; all else is in the report.
  public static func attachment(
    _ options: ConnectionOptions, trace: @escaping @Sendable (String) -> Void,
    _ request: () throws(NBDSecureError) -> AttachRequest
  ) throws(NBDSecureError) -> CheckReport {
    var report = CheckReport()
    let wanted: AttachRequest
    do throws(NBDSecureError) {
      wanted = try request()
      _ = try wanted.device.map { text throws(NBDSecureError) in try deviceIndex(text) }
    } catch {
      guard error.code != .usage else { throw error }
      report.fail(.credentials, error)
      report.examineKernel(for: nil)
      _ = report.examinePolicy(files: options.policyFiles.map(absolutePath))
      return report
    }
    report.endpoint = wanted.connection.endpoint.description
    report.examineKernel(for: wanted)
    report.examineCredentials(wanted.connection.credentials, wanted.connection.credentialOrigin)
    if report.examinePolicy(files: wanted.connection.policyFiles) {
      try report.askPolicy(about: wanted)
    }
    if [.credentials, .policy, .server].contains(where: report.failed) {
      report.note(.server, .note, "not connected to: an attachment would not come that far")
    } else {
      try report.connect(wanted, trace: trace)
    }
    return report
  }
}

extension CheckReport {
  /// Each file, and what is wrong with it.
  fileprivate mutating func examineCredentials(
    _ source: ConnectionRequest.CredentialSource, _ origin: ConnectionRequest.CredentialOrigin
  ) {
    var credentials = CredentialReport(source, origin)
    var facts: [CredentialFileFacts] = []
    var errors: [CredentialError] = []
    do throws(CredentialError) {
      switch source {
      case .none: break
      case .systemTrust: facts = try X509Credentials.systemTrust().files
      case .psk(let file, let identity):
        facts = try PSKCredentials.load(file: realPath(file) ?? file, identity: identity).files
      case .x509(let directory, let passwordFile):
        let survey = CredentialSurvey(
          directory: directory, keyPasswordFile: passwordFile,
          trustAnchors: realPath("\(directory)/ca-cert.pem"))
        facts = survey.files
        errors = survey.failures
      }
    } catch {
      errors = [error]
    }
    let mark: Mark = source == .none ? .warning : errors.isEmpty ? .ok : .note
    note(.credentials, mark, credentials.choice)
    let now = secondsSince1970()
    credentials.files = facts.map { CredentialReport.File($0, now: now) }
    for line in credentials.files.flatMap({ $0.lines(now: now) }) {
      note(.credentials, line.mark, line.text)
    }
    self.credentials = credentials
    for error in errors { fail(.credentials, NBDSecureError(error)) }
  }

  /// The files; whether they can be used.
  fileprivate mutating func examinePolicy(files: [String]) -> Bool {
    do throws(NBDSecureError) {
      let policy = try PolicyInquiry.describe(files: files)
      self.policy = policy
      for file in policy.files {
        let rules = file.rules.count == 1 ? "1 rule" : "\(file.rules.count) rules"
        note(.policy, .ok, "\(file.file): \(rules), default \(file.defaultAction.rawValue)")
      }
      return true
    } catch {
      fail(.policy, error)
      return false
    }
  }

  /// What policy says before the connection.
  fileprivate mutating func askPolicy(about request: AttachRequest) throws(NBDSecureError) {
    let inquiry = try PolicyInquiry.inquire(request)
    verdict = inquiry.report.explanation
    // What cannot be looked up cannot be connected to: its reason comes before policy's.
    if let failure = inquiry.addressFailure { return fail(.server, failure) }
    tell(inquiry.report.explanation, when: "before the connection")
  }

  private mutating func tell(_ explanation: PolicyExplanation, when: String) {
    for file in explanation.files {
      for line in file.notes { note(.policy, .note, "\(file.file): \(line)") }
      if file.refusal == nil {
        note(.policy, .ok, "\(when): \(file.file) allows, by \(file.decidedBy)")
      }
    }
    if let refusal = explanation.refusal { return fail(.policy, NBDSecureError(refusal)) }
    for (key, places) in (explanation.origins ?? [:]).sorted(by: { $0.key < $1.key }) {
      let values = explanation.parameters?[key]?.joined(separator: ", ") ?? ""
      note(
        .policy, .note, "\(when): \(key) = \(values), by \(places.joined(separator: "; "))")
    }
  }

  /// Connects as an attachment would, asks about the export, and parts.
  fileprivate mutating func connect(
    _ request: AttachRequest, trace: @escaping @Sendable (String) -> Void
  ) throws(NBDSecureError) {
    let seen = Events()
    var connector = Connector(request: request.connection, trace: trace)
    connector.use = ConnectionUse(request)
    connector.observe = { event in seen.list.withLock { $0.append(event) } }
    var outcome: Result<Connection, NBDSecureError>
    do throws(NBDSecureError) {
      let name = try request.connection.endpoint.exportName()
      // As attach asks: servers differ in what they answer to NBD_OPT_INFO and to NBD_OPT_GO.
      let connection = try connector.open(.attach(name))
      connection.part()
      outcome = .success(connection)
    } catch {
      outcome = .failure(error)
    }
    for event in seen.list.withLock({ $0 }) {
      switch event {
      case .connected(let address): note(.server, .ok, "connected to \(address)")
      case .proved(let facts): tell(facts)
      case .judged(let explanation):
        verdictWithProof = explanation
        if let explanation { tell(explanation, when: "after the handshake") }
      }
    }
    switch outcome {
    case .success(let connection): examine(connection, request)
    // Policy's refusal is told already.
    case .failure(let error) where error.underlying is PolicyRefusal && failed(.policy): break
    case .failure(let error): fail(.server, error)
    }
  }

  private mutating func tell(_ facts: SessionFacts) {
    tls = TLSReport(facts)
    let group = facts.group.isEmpty ? "" : " (\(facts.group))"
    note(
      .server, .ok,
      "TLS \(facts.version.rawValue), \(facts.cipher.rawValue), \(facts.exchange)\(group)")
    guard let peer = facts.peer else {
      return note(.server, .ok, "proved: the pre-shared key of \(facts.pskIdentity ?? "?")")
    }
    note(.server, .ok, "proved: \(facts.verifiedName ?? "?")")
    note(
      .server, Expiry.isNear(peer.notAfter) ? .warning : .ok,
      "certificate \(peer.subject), issued by \(peer.issuer), \(peer.keyType), "
        + Expiry.phrase(peer.notAfter))
    note(.server, .note, "its public key, to pin: --tls-pin \(facts.pin ?? "")")
    if facts.clientCertificateSent {
      note(.server, .ok, "it asked for a client certificate, and was shown ours")
    } else if facts.clientCertificateRequested {
      note(.server, .note, "it asked for a client certificate, and there is none to show")
    }
  }

  private mutating func examine(_ connection: Connection, _ request: AttachRequest) {
    guard let found = connection.export else { return }
    let export = ExportReport(found, connection, request.connection.endpoint)
    self.export = export
    note(
      .server, .ok,
      "export \(Printable.quoted(export.export)): \(export.size) bytes, "
        + (export.readOnly ? "read-only" : "read-write")
        + (export.description.map { ", \(Printable.quoted($0))" } ?? ""))
    do throws(NBDSecureError) {
      var warnings: [String] = []
      var count = request.connections
      if count > 1, !found.flags.contains(.canMultiConn) {
        warnings.append("the server does not allow several connections: 1 instead of \(count)")
        count = 1
      }
      let plan = try DevicePlan(
        export: found, request: request, readOnly: connection.policy.readOnly, connections: count
      ) { warnings.append($0) }
      let binding: Binder.Kind =
        request.binding == .ioctl || kernel?.netlink == false && kernel?.driver == true
        ? .ioctl : .netlink
      let path = try DataPathChoice(for: connection, request: request, binding: binding) {
        warnings.append($0)
      }
      for warning in warnings { note(.device, .warning, warning) }
      let report = DeviceReport(
        size: plan.size, blockSize: plan.blockSize, readOnly: plan.flags.contains(.readOnly),
        dataPath: path == .relay ? "relay" : "ktls")
      device = report
      note(
        .device, .ok,
        "a device of \(report.size) bytes in blocks of \(report.blockSize), "
          + "\(report.readOnly ? "read-only" : "read-write"), "
          + (path == .relay ? "through the relay" : "over kernel TLS")
          + (count > 1 ? ", \(count) connections" : ""))
    } catch {
      fail(.device, error)
    }
  }
}

/// What a connection was heard to do.
private final class Events: Sendable {
  let list = Mutex<[ConnectionEvent]>([])
}
