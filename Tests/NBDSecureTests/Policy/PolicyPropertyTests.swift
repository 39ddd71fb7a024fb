// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import NBDSecure

/// Nothing that a user can say, and no further file, turns a refusal into an allowance: shown on
/// random policies, servers and options.
@Suite("Policy: cannot be talked round")
struct PolicyPropertyTests {
  /// How often an allowance was seen: the properties below say nothing about refusals.
  private func expectEnough(_ count: Int) {
    #expect(count > 500, "only \(count) allowances: the generator is too strict")
  }

  @Test func `a further file only restricts`() throws {
    var dice = PolicyDice(seed: 1)
    var allowances = 0
    for _ in 0..<3_000 {
      let first = try dice.files(1...2)
      let more = try dice.files(1...2)
      let server = dice.server()
      let question = dice.question(to: server)
      let proof = dice.proof(of: server, for: question)
      let both = PolicySet(files: first + more)
      for part in [PolicySet(files: first), PolicySet(files: more)] {
        guard let strict = both.decide(question).parameters else { continue }
        allowances += 1
        let loose = try #require(part.decide(question).parameters, "\(both.describe().lines)")
        #expect(strict.isAsStrict(as: loose))
        guard both.decide(question, proof: proof).refusal == nil else { continue }
        #expect(part.decide(question, proof: proof).refusal == nil)
      }
      #expect(
        PolicySet(files: more + first).decide(question).refusal == nil
          || both.decide(question).refusal != nil, "the order of files does not matter")
    }
    expectEnough(allowances)
  }

  @Test func `the handshake only restricts`() throws {
    var dice = PolicyDice(seed: 2)
    var allowances = 0
    for _ in 0..<3_000 {
      let set = PolicySet(files: try dice.files(1...2))
      let server = dice.server()
      let question = dice.question(to: server)
      let proof = dice.proof(of: server, for: question)
      guard let after = set.decide(question, proof: proof).parameters else { continue }
      allowances += 1
      let before = try #require(set.decide(question).parameters)
      #expect(after.isAsStrict(as: before))
    }
    expectEnough(allowances)
  }

  @Test func `options that restrict only restrict`() throws {
    var dice = PolicyDice(seed: 3)
    var allowances = 0
    for _ in 0..<3_000 {
      let set = PolicySet(files: try dice.files(1...2))
      let question = dice.question(to: dice.server())
      var strict = question
      strict.minimumVersion = .tls13
      strict.readOnly = true
      strict.pins = question.pins ?? [Fixture.keyA]
      if strict.dataPaths.count == 2 { strict.dataPaths = [dice.pick([.relay, .ktls])] }
      guard set.decide(strict).refusal == nil else { continue }
      allowances += 1
      #expect(set.decide(question).refusal == nil)
    }
    expectEnough(allowances)
  }

  /// One policy, one server, many ways to ask for it: what policy says about the server and the
  /// session as they are holds for all of them.
  @Test func `no options talk a file round`() throws {
    var dice = PolicyDice(seed: 4)
    var allowances = 0
    for _ in 0..<800 {
      let file = try dice.files(1...1)[0]
      let set = PolicySet(files: [file])
      let server = dice.server()
      for _ in 0..<25 {
        let question = dice.question(to: server)
        let proof = dice.proof(of: server, for: question)
        guard set.decide(question, proof: proof).refusal == nil else { continue }
        allowances += 1
        let truth = PolicyTruth(server: server, question: question)
        #expect(!truth.isDenied(by: file), "\(set.describe().lines) \(question) \(proof)")
        #expect(truth.isAllowed(by: file), "\(set.describe().lines) \(question) \(proof)")
        #expect(
          truth.meets(file.requirements, proof), "\(set.describe().lines) \(question) \(proof)")
        if let first = file.rules.first, first.action == .allow, truth.isNamed(by: first) {
          #expect(
            truth.meets(first.requirements, proof), "\(set.describe().lines) \(question) \(proof)")
        }
      }
    }
    expectEnough(allowances)
  }
}

extension PolicyParameters {
  /// Whether whatever keeps to these parameters keeps to the others.
  fileprivate func isAsStrict(as other: PolicyParameters) -> Bool {
    func subset<Element>(_ mine: (some Sequence<Element>)?, _ its: (some Sequence<Element>)?)
      -> Bool
    where Element: Hashable {
      guard let its else { return true }
      guard let mine else { return false }
      return Set(mine).isSubset(of: Set(its))
    }
    return minimumVersion >= other.minimumVersion && plaintext <= other.plaintext
      && subset(ciphers, other.ciphers) && subset(groups, other.groups)
      && authentication.isSubset(of: other.authentication) && subset(pins, other.pins)
      && subset(trustAnchors, other.trustAnchors) && subset(pskFiles, other.pskFiles)
      && dataPaths.isSubset(of: other.dataPaths)
      && (requiresClientCertificate || !other.requiresClientCertificate)
      && (requiresRevocationList || !other.requiresRevocationList)
      && revocationListMaximumAge ?? .max <= other.revocationListMaximumAge ?? .max
      && minimumRemainingValidity ?? 0 >= other.minimumRemainingValidity ?? 0
      && (sameKey || !other.sameKey) && (readOnly || !other.readOnly)
  }
}
