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
  /// Which places of policy demand something of TLS, by key; known once it was asked.
  private(set) var origins: [String: [String]] = [:]

  /// Reads the policy files.
  ///
  /// - Throws: `NBDSecureError` with `.forbidden` for files that cannot be used.
  init(
    _ request: ConnectionRequest, use: ConnectionUse, credentials: LoadedCredentials
  ) throws(NBDSecureError) {
    self.request = request
    self.use = use
    self.credentials = credentials
    policy = try PolicySet(reading: request.policyFiles)
  }

  /// Before the connection: what TLS must keep to.
  ///
  /// - Throws: `NBDSecureError` with `.forbidden` or `.identity`.
  mutating func ask(
    about addresses: [SocketAddress], goal: Goal
  ) throws(NBDSecureError) -> TLSRequirements {
    let question = PolicyQuestion(
      request, use: use, channel: credentials.policyChannel, identity: credentials.tls?.identity,
      addresses: addresses, goal: goal)
    self.question = question
    switch policy.decide(question) {
    case .refused(let refusal): throw NBDSecureError(refusal)
    case .allowed(let parameters):
      origins = parameters.origins
      return try requirements(from: parameters)
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
    switch policy.decide(question, proof: proof(address, facts)) {
    case .refused(let refusal): throw NBDSecureError(refusal)
    case .allowed(let parameters): return parameters
    }
  }

  /// What `accept` decides by; nil where policy was not asked before.
  func explain(address: SocketAddress, facts: SessionFacts?) -> PolicyExplanation? {
    question.map { policy.explain($0, proof: proof(address, facts)) }
  }

  private func proof(_ address: SocketAddress, _ facts: SessionFacts?) -> PolicyProof {
    PolicyProof(
      address: address.isTCP ? address.host : nil, session: facts.map(session(of:)))
  }

  private func requirements(
    from parameters: PolicyParameters
  ) throws(NBDSecureError) -> TLSRequirements {
    let pins = try (parameters.pins ?? []).map { pin throws(NBDSecureError) in
      guard let digest = PublicKeyPin(pin.description) else {
        throw NBDSecureError(.forbidden, "\(pin): not the digest of a public key")
      }
      return digest
    }
    return TLSRequirements(
      minimumVersion: parameters.minimumVersion == .tls13 ? .v13 : .v12,
      priority: request.priority,
      allowedCiphers: parameters.ciphers?.compactMap(TLSCipher.init(rawValue:)),
      allowedGroups: parameters.groups?.compactMap(TLSGroup.init(rawValue:)),
      pins: Set(pins))
  }

  private func session(of facts: SessionFacts) -> PolicyProof.Session {
    PolicyProof.Session(
      version: facts.version == .v13 ? .tls13 : .tls12, cipher: facts.cipher.rawValue,
      group: facts.group.isEmpty ? nil : facts.group,
      authentication: facts.pskIdentity == nil ? .x509 : .psk,
      peerKey: facts.pin.flatMap(PolicyPin.init),
      previousPeerKey: use.previousPeerKey.flatMap(PolicyPin.init),
      peerNotAfter: facts.peer?.notAfter, verifiedName: facts.verifiedName,
      certificateNames: facts.peer?.names ?? [], unlistedCertificate: facts.unlistedCertificate)
  }
}
