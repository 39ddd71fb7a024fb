// SPDX-License-Identifier: Apache-2.0

/// What a rule, or the default, does with what it matches.
public enum PolicyAction: String, Hashable, Sendable, Codable, CaseIterable {
  /// Let it pass.
  case allow
  /// Refuse it.
  case deny
}

/// A `[[rule]]` of a policy file.
struct PolicyRule: Hashable, Sendable {
  /// How far a rule matches.
  enum Match: Hashable {
    case no
    /// Some name or address of the question matches, but not everything that will be verified
    /// and connected to: the rule does not allow, and what it requires holds all the same.
    case partly(String)
    case yes
  }

  let source: PolicySource
  let name: String?
  let action: PolicyAction
  var hosts: [PolicyHostPattern]?
  var addresses: [PolicyAddressBlock]?
  var unixPaths: [PolicySocketPattern]?
  var vsock: [PolicyVsockPattern]?
  var exports: [PolicyGlob]?
  var requirements = PolicyRequirements()

  /// Matches the facts of a connection.
  ///
  /// A rule that denies matches as soon as one of its `host`, `address`, `unix`, `vsock` keys
  /// matches anything that was asked for, resolved or proven (and its `export`, if it has one).
  /// A rule that allows matches if all its keys match what is verified and connected to.
  func match(_ facts: PolicyFacts) -> Match {
    guard exportMatches(facts.export) else { return .no }
    let matches: [(loose: Bool, strict: Bool, note: String)] = [
      hosts.map { hosts in
        (
          facts.deniableNames.contains { name in hosts.contains { $0.matches(name) } }
            || facts.hasOddName
            || facts.addresses.contains { address in hosts.contains { $0.isAddress(address) } },
          facts.provableName.map { name in hosts.contains { $0.matches(name) } } ?? false,
          facts.provableName.map { "the name to be verified, \"\($0)\", does not match" }
            ?? "no certificate proves a name here"
        )
      },
      addresses.map { blocks in
        let inside = facts.addresses.map { address in blocks.contains { $0.contains(address) } }
        return (
          inside.contains(true) || facts.hasOddAddress,
          !inside.isEmpty && inside.allSatisfy { $0 } && !facts.hasOddAddress,
          "not every address of the server matches"
        )
      },
      unixPaths.map { patterns in
        (
          facts.unixPaths.contains { path in patterns.contains { $0.mayMean(path) } },
          facts.resolvedUnixPath.map { path in patterns.contains { $0.written.matches(path) } }
            ?? false,
          "the socket's real path does not match"
        )
      },
      vsock.map { patterns in
        let matches = facts.cid.map { cid in patterns.contains { $0.matches(cid) } } ?? false
        return (matches, matches, "")
      },
    ].compactMap { $0 }
    if action == .deny {
      return matches.isEmpty || matches.contains(where: \.loose) ? .yes : .no
    }
    if matches.allSatisfy(\.strict) { return .yes }
    // `strict` counts as loose too: a certificate's name matches what nobody asked for.
    guard matches.allSatisfy({ $0.loose || $0.strict }) else { return .no }
    return .partly(matches.first { !$0.strict }?.note ?? "")
  }

  /// Listing asks for no export: only a pattern for all of them speaks of it.
  private func exportMatches(_ export: String?) -> Bool {
    guard let exports else { return true }
    guard let export else { return exports.contains(where: \.matchesEverything) }
    return exports.contains { $0.matches(export) }
  }
}

/// The facts of a question as rules see them, and what a handshake added to them.
struct PolicyFacts {
  let export: String?
  /// Names that a rule which denies looks at: asked for, connected to, verified, and every name
  /// in the server's certificate once that is known.
  let deniableNames: [String]
  /// A name with characters outside of printable ASCII, which certificate checks may rewrite
  /// (IDNA): no pattern can be trusted not to match it.
  let hasOddName: Bool
  let provableName: String?
  let addresses: [PolicyAddress]
  /// An address that is not numeric: a caller's mistake, answered by the strictest reading.
  let hasOddAddress: Bool
  let unixPaths: [String]
  let resolvedUnixPath: String?
  let cid: UInt32?

  init(_ question: PolicyQuestion, certificateNames: [String] = [], connected: String? = nil) {
    export = question.export
    provableName = question.provableName
    var names = [question.verifiedName].compactMap { $0 } + certificateNames
    var numeric: [String] = connected.map { [$0] } ?? []
    switch question.transport {
    case .tcp(let host, let via, _, let addresses):
      names += [host] + [via].compactMap { $0 }
      numeric += addresses
      (unixPaths, resolvedUnixPath, cid) = ([], nil, nil)
    case .unix(let path, let resolved):
      (unixPaths, resolvedUnixPath, cid) = ([path] + [resolved].compactMap { $0 }, resolved, nil)
    case .vsock(let cid, _):
      (unixPaths, resolvedUnixPath, self.cid) = ([], nil, cid)
    }
    deniableNames = names
    hasOddName = names.contains { !$0.utf8.allSatisfy { (0x21...0x7e).contains($0) } }
    addresses = numeric.compactMap { PolicyAddress($0) }
    hasOddAddress = addresses.count != numeric.count
  }
}
