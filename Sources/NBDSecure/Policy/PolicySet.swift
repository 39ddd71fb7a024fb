// SPDX-License-Identifier: Apache-2.0

/// All policy files of a host and of a command line. Every one of them must allow; so a further
/// file can only restrict.
public struct PolicySet: Hashable, Sendable {
  let files: [PolicyFile]

  /// The policy of a host without policy files.
  public static let builtIn = PolicySet(files: [.builtIn])

  /// The policy of one file's text, with its paths taken as they stand. Reads nothing.
  public static func parse(_ text: String, file: String) throws(PolicyError) -> PolicySet {
    PolicySet(files: [try PolicyFile(parsing: text, path: file) { $0 }])
  }

  init(files: [PolicyFile]) {
    self.files = files.isEmpty ? [.builtIn] : files
  }

  /// Answers before the connection is made.
  public func decide(_ question: PolicyQuestion) -> PolicyDecision {
    do throws(PolicyRefusal) {
      return .allowed(try parameters(for: question, facts: PolicyFacts(question)))
    } catch {
      return .refused(error)
    }
  }

  /// Answers again with what the connection turned out to be. Never allows what `decide` refuses.
  public func decide(_ question: PolicyQuestion, proof: PolicyProof) -> PolicyDecision {
    do throws(PolicyRefusal) {
      return .allowed(try check(question, proof))
    } catch {
      return .refused(error)
    }
  }

  private func check(
    _ question: PolicyQuestion, _ proof: PolicyProof
  ) throws(PolicyRefusal) -> PolicyParameters {
    var question = question
    if case .tcp(let host, let via, let port, let addresses) = question.transport {
      // Without an address no rule about addresses can be kept: let none of them allow.
      let connected = proof.address.map { [$0] } ?? [""]
      question.transport = .tcp(
        host: host, via: via, port: port, addresses: addresses + connected)
    }
    let session = proof.session
    guard session?.authentication == question.authentication else {
      throw PolicyRefusal(
        at: PolicySource(file: "built-in policy", place: "default"),
        "the connection is \(session?.authentication.rawValue ?? "plaintext"), "
          + "not \(question.authentication?.rawValue ?? "plaintext") as was asked for")
    }
    if question.authentication == .x509,
      !PolicyHostPattern.isSame(question.provableName, session?.verifiedName)
    {
      throw PolicyRefusal(
        at: PolicySource(file: "built-in policy", place: "default"),
        "the name that was verified is not the one that was asked for", isIdentity: true)
    }
    let facts = PolicyFacts(question, certificateNames: session?.certificateNames ?? [])
    let parameters = try parameters(for: question, facts: facts)
    guard let session else { return parameters }
    for block in files.flatMap({ $0.judge(facts).blocks }) {
      try block.check(session, now: question.now)
    }
    try checkOptions(question, session)
    return parameters
  }

  /// The user's own demands, which the session was set up with: checked here as well, so that no
  /// mistake elsewhere goes unseen.
  private func checkOptions(
    _ question: PolicyQuestion, _ session: PolicyProof.Session
  ) throws(PolicyRefusal) {
    let source = PolicySource(file: "command line", place: "options")
    if session.version < question.minimumVersion {
      throw PolicyRefusal(
        at: source, key: .tlsMinVersion,
        "the session is TLS \(session.version.rawValue), older than asked for")
    }
    if let pins = question.pins, !pins.contains(where: { $0 == session.peerKey }) {
      throw PolicyRefusal(
        at: source, key: .pins, "the server's public key is not one of the pinned ones",
        isIdentity: true)
    }
  }

  private func parameters(
    for question: PolicyQuestion, facts: PolicyFacts
  ) throws(PolicyRefusal) -> PolicyParameters {
    var parameters = PolicyParameters(asked: question)
    for file in files {
      let verdict = file.judge(facts)
      guard verdict.action == .allow else {
        throw PolicyRefusal(
          at: verdict.source, "\(question.endpointText) is not allowed",
          hint: verdict.notes.isEmpty ? nil : verdict.notes.joined(separator: "; "))
      }
      for block in verdict.blocks {
        try block.check(question)
        try parameters.restrict(by: block, question)
      }
    }
    return parameters
  }
}
