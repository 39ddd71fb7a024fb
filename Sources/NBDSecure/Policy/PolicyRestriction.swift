// SPDX-License-Identifier: Apache-2.0

extension PolicyParameters {
  /// Takes on what a block requires; refuses where nothing would be left to choose from.
  mutating func restrict(
    by block: PolicyBlock, _ question: PolicyQuestion
  ) throws(PolicyRefusal) {
    let wanted = block.requirements
    for key in wanted.keys { origins[key.rawValue, default: []].append(block.source.text) }

    plaintext = min(plaintext, wanted.effectivePlaintext)
    authentication.formIntersection(wanted.effectiveAuthentication)
    if let version = wanted.minimumVersion { minimumVersion = max(minimumVersion, version) }
    ciphers = try narrow(ciphers, wanted.ciphers, .ciphers, block)
    groups = try narrow(groups, wanted.groups, .groups, block)
    requiresClientCertificate = requiresClientCertificate || wanted.clientCertificate == true
    requiresRevocationList =
      requiresRevocationList || wanted.revocationKey != nil
    revocationListMaximumAge = Self.smaller(
      revocationListMaximumAge, wanted.crlMaxAgeDays.map { $0 * PolicyBlock.secondsPerDay })
    minimumRemainingValidity = Self.larger(
      minimumRemainingValidity, wanted.minRemainingDays.map { $0 * PolicyBlock.secondsPerDay })
    sameKey = sameKey || wanted.sameKey == true
    readOnly = readOnly || wanted.readOnly == true
    if question.needsToWrite, wanted.readOnly == true {
      throw block.refusal(.readOnly, "this export may only be read, and it is to be written to")
    }
    if question.authentication == .x509 {
      pins = try narrow(pins, wanted.pins.map(Set.init), .pins, block)
    }
    trustAnchors = Self.common(trustAnchors, wanted.trustAnchors.map { Set($0.map(\.resolved)) })
    pskFiles = Self.common(pskFiles, wanted.pskFiles.map { Set($0.map(\.resolved)) })
    if let allowed = wanted.dataPaths, !question.dataPaths.isEmpty {
      dataPaths.formIntersection(allowed)
      guard !dataPaths.isEmpty else {
        throw block.refusal(
          .dataPaths, "the data path asked for is not allowed",
          hint: "allowed are: " + allowed.map(\.rawValue).joined(separator: ", "))
      }
    }
  }

  private func narrow(
    _ old: [String]?, _ new: [String]?, _ key: PolicyKey, _ block: PolicyBlock
  ) throws(PolicyRefusal) -> [String]? {
    guard let old, let new else { return old ?? new }
    let common = old.filter(new.contains)
    guard !common.isEmpty else { throw nothingLeft(key, block) }
    return common
  }

  private func narrow(
    _ old: Set<PolicyPin>?, _ new: Set<PolicyPin>?, _ key: PolicyKey, _ block: PolicyBlock
  ) throws(PolicyRefusal) -> Set<PolicyPin>? {
    let common = Self.common(old, new)
    guard common?.isEmpty != true else { throw nothingLeft(key, block) }
    return common
  }

  private func nothingLeft(_ key: PolicyKey, _ block: PolicyBlock) -> PolicyRefusal {
    let others = (origins[key.rawValue] ?? []).filter { $0 != block.source.text }
    let other = others.isEmpty ? "the options" : others.joined(separator: " and ")
    return block.refusal(key, "\(key.rawValue) leaves nothing in common with \(other)")
  }

  private static func common<Element>(
    _ old: Set<Element>?, _ new: Set<Element>?
  ) -> Set<Element>? {
    guard let old, let new else { return old ?? new }
    return old.intersection(new)
  }

  private static func smaller(_ old: Int64?, _ new: Int64?) -> Int64? {
    guard let old, let new else { return old ?? new }
    return min(old, new)
  }

  private static func larger(_ old: Int64?, _ new: Int64?) -> Int64? {
    guard let old, let new else { return old ?? new }
    return max(old, new)
  }
}
