// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import TLS

/// Asks policy about one connection: before it is made, and again with what was proved.
struct PolicyJudge {
  private let request: ConnectionRequest
  private let use: ConnectionUse
  private let credentials: LoadedCredentials
  private let policy: PolicySet
  private var question: PolicyQuestion?

  /// Reads the policy files.
  ///
  /// - Throws: `NBDSecureError` with `.forbidden` for files that cannot be used.
  init(
    _ request: ConnectionRequest, use: ConnectionUse, credentials: LoadedCredentials
  ) throws(NBDSecureError) {
    self.request = request
    self.use = use
    self.credentials = credentials
    do { policy = try PolicySet.load(extra: request.policyFiles) } catch {
      throw NBDSecureError(error)
    }
  }

  /// Before the connection: what TLS must keep to.
  ///
  /// - Throws: `NBDSecureError` with `.forbidden` or `.identity`.
  mutating func ask(
    about addresses: [SocketAddress], goal: Goal
  ) throws(NBDSecureError) -> TLSRequirements {
    let question = self.question(about: addresses, goal: goal)
    self.question = question
    switch policy.decide(question) {
    case .refused(let refusal): throw NBDSecureError(refusal)
    case .allowed(let parameters): return requirements(from: parameters)
    }
  }

  /// After the handshake: whether what was proved is enough.
  ///
  /// - Throws: `NBDSecureError` with `.forbidden` or `.identity`.
  func accept(
    address: SocketAddress, facts: SessionFacts?
  ) throws(NBDSecureError) -> PolicyParameters {
    guard let question else {
      throw NBDSecureError(.forbidden, "policy was not asked before the connection")
    }
    let proof = PolicyProof(
      address: address.isTCP ? address.host : nil, session: facts.map(session(of:)))
    switch policy.decide(question, proof: proof) {
    case .refused(let refusal): throw NBDSecureError(refusal)
    case .allowed(let parameters): return parameters
    }
  }

  private func question(about addresses: [SocketAddress], goal: Goal) -> PolicyQuestion {
    let transport: PolicyQuestion.Transport =
      switch request.endpoint.transport {
      case .tcp(let host, let port, let address):
        .tcp(host: host, via: address, port: port, addresses: addresses.map(\.host))
      case .unix(let path): .unix(path: path, resolved: Self.socketPath(addresses))
      case .vsock(let cid, let port): .vsock(cid: cid, port: port)
      }
    let export: String? =
      switch goal {
      case .list: nil
      case .info(let name), .attach(let name): name.string
      }
    let pins = request.pins.compactMap { PolicyPin("sha256:\($0)") }
    return PolicyQuestion(
      transport: transport, channel: credentials.policyChannel,
      verifiedName: credentials.tls?.identity.text, export: export, dataPaths: use.dataPaths,
      minimumVersion: request.minimumVersion == "1.3" ? .tls13 : .tls12,
      pins: pins.isEmpty ? nil : Set(pins), readOnly: use.readOnly, now: secondsSince1970())
  }

  /// The socket that is going to be connected to; nil where there is none.
  private static func socketPath(_ addresses: [SocketAddress]) -> String? {
    guard case .unix(let path) = addresses.first, fileExists(path) else { return nil }
    return path
  }

  private func requirements(from parameters: PolicyParameters) -> TLSRequirements {
    TLSRequirements(
      minimumVersion: parameters.minimumVersion == .tls13 ? .v13 : .v12,
      priority: request.priority,
      allowedCiphers: parameters.ciphers?.compactMap(TLSCipher.init(rawValue:)),
      allowedGroups: parameters.groups?.compactMap(TLSGroup.init(rawValue:)),
      pins: Set((parameters.pins ?? []).compactMap { PublicKeyPin($0.description) }))
  }

  private func session(of facts: SessionFacts) -> PolicyProof.Session {
    PolicyProof.Session(
      version: facts.version == .v13 ? .tls13 : .tls12, cipher: facts.cipher.rawValue,
      group: facts.group.isEmpty ? nil : facts.group,
      authentication: facts.pskIdentity == nil ? .x509 : .psk,
      peerKey: facts.pin.flatMap(PolicyPin.init),
      previousPeerKey: use.previousPeerKey.flatMap(PolicyPin.init),
      peerNotAfter: facts.peer?.notAfter, verifiedName: facts.verifiedName,
      certificateNames: facts.peer?.names ?? [])
  }
}
