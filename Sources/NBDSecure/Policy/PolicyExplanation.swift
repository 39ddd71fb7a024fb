// SPDX-License-Identifier: Apache-2.0

/// What `policy explain` prints: which rule of which file decides, and what it makes of the
/// connection.
public struct PolicyExplanation: Hashable, Sendable, Codable {
  /// What one file says.
  public struct File: Hashable, Sendable, Codable {
    /// Its path, or `built-in policy`.
    public let file: String
    /// The rule that decides (`rule 2 "database"`), or `default`.
    public let decidedBy: String
    /// What that rule says; its requirements may refuse all the same.
    public let action: PolicyAction
    /// The parts of the file whose requirements hold.
    public let requirementsOf: [String]
    /// Why rules that looked meant for this did not decide.
    public let notes: [String]
    /// Why this file, taken alone, refuses; nil if it allows.
    public let refusal: PolicyRefusal?
  }

  /// What was asked.
  public let endpoint: String
  /// Whether every file allows.
  public let allowed: Bool
  /// The first refusal.
  public let refusal: PolicyRefusal?
  /// What the connection must keep to, by policy key; nil if it is refused.
  public let parameters: [String: [String]]?
  /// Which places of which files set each of them.
  public let origins: [String: [String]]?
  /// Each file's word.
  public let files: [File]

  /// The explanation as text, a line each.
  public var lines: [String] {
    var lines = ["\(endpoint): \(allowed ? "allowed" : "refused")"]
    for file in files {
      let verdict =
        file.refusal.map { "refuses, by \($0.rule)" } ?? "allows, by \(file.decidedBy)"
      lines.append("\(file.file): \(verdict)")
      lines += file.notes.map { "  \($0)" }
      guard let refusal = file.refusal else { continue }
      lines.append("  \(refusal.summary)")
      if let hint = refusal.hint, hint != file.notes.joined(separator: "; ") {
        lines.append("  hint: \(hint)")
      }
    }
    if let refusal, !files.contains(where: { $0.refusal != nil }) {
      lines.append(refusal.summary)
    }
    for key in PolicyKey.allCases.map(\.rawValue) {
      guard let values = parameters?[key] else { continue }
      let from = origins?[key].map { " (from \($0.joined(separator: "; ")))" } ?? ""
      lines.append("require: \(key) = \(values.joined(separator: ", "))\(from)")
    }
    return lines
  }
}

extension PolicySet {
  /// What `policy explain` prints about this question; with a proof, about the connection made.
  public func explain(_ question: PolicyQuestion, proof: PolicyProof? = nil) -> PolicyExplanation {
    let names = proof?.session?.certificateNames ?? []
    let facts = PolicyFacts(question, certificateNames: names, connected: proof?.address)
    let words = files.map { file in
      let verdict = file.judge(facts)
      let decision = PolicySet(files: [file]).answer(question, proof)
      return PolicyExplanation.File(
        file: file.path, decidedBy: verdict.source.place, action: verdict.action,
        requirementsOf: verdict.blocks.filter { !$0.requirements.keys.isEmpty }
          .map(\.source.place),
        notes: verdict.notes, refusal: decision.refusal)
    }
    let decision = answer(question, proof)
    return PolicyExplanation(
      endpoint: question.endpointText, allowed: decision.refusal == nil,
      refusal: decision.refusal, parameters: decision.parameters?.texts,
      origins: decision.parameters?.origins, files: words)
  }

  private func answer(_ question: PolicyQuestion, _ proof: PolicyProof?) -> PolicyDecision {
    proof.map { decide(question, proof: $0) } ?? decide(question)
  }
}

extension PolicyDecision {
  /// The refusal, if it is one.
  public var refusal: PolicyRefusal? {
    if case .refused(let refusal) = self { refusal } else { nil }
  }

  /// The parameters, if it is allowed.
  public var parameters: PolicyParameters? {
    if case .allowed(let parameters) = self { parameters } else { nil }
  }
}

extension PolicyParameters {
  /// What the parameters demand, by policy key, as a policy file would say it.
  public var texts: [String: [String]] {
    var texts: [String: [String]] = [:]
    for key in PolicyKey.allCases { texts[key.rawValue] = self.texts(for: key) }
    return texts
  }

  private func texts(for key: PolicyKey) -> [String]? {
    switch key {
    case .plaintext: [plaintext.rawValue]
    case .plaintextSockets: nil
    case .tlsMinVersion: [minimumVersion.rawValue]
    case .ciphers: ciphers
    case .groups: groups
    case .authentication: authentication.sorted().map(\.rawValue)
    case .clientCertificate: requiresClientCertificate ? ["true"] : nil
    case .crl: requiresRevocationList ? ["true"] : nil
    case .crlMaxAgeDays: days(revocationListMaximumAge)
    case .minRemainingDays: days(minimumRemainingValidity)
    case .pins: pins?.sorted().map(\.description)
    case .sameKey: sameKey ? ["true"] : nil
    case .trustAnchors: trustAnchors?.sorted()
    case .pskFiles: pskFiles?.sorted()
    case .readOnly: readOnly ? ["true"] : nil
    case .dataPaths: dataPaths.isEmpty ? nil : dataPaths.sorted().map(\.rawValue)
    }
  }

  private func days(_ seconds: Int64?) -> [String]? {
    seconds.map { ["\($0 / PolicyBlock.secondsPerDay)"] }
  }
}
