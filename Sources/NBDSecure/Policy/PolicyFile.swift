// SPDX-License-Identifier: Apache-2.0

/// One policy file: what it requires of everything, and its rules in order.
struct PolicyFile: Hashable, Sendable {
  /// What one file says to a question.
  struct Verdict: Hashable, Sendable {
    /// The rule that decides, or the default.
    let source: PolicySource
    let action: PolicyAction
    /// Every part whose requirements hold: `[require]`, rules that match in part, the decider.
    let blocks: [PolicyBlock]
    /// Why rules that looked meant for this did not decide.
    let notes: [String]
  }

  /// The path, for messages.
  let path: String
  var requirements = PolicyRequirements()
  var defaultAction = PolicyAction.allow
  var rules: [PolicyRule] = []

  /// What a host without policy files has: everything that the program's own rules permit.
  static let builtIn = PolicyFile(path: "built-in policy")

  func judge(_ facts: PolicyFacts) -> Verdict {
    var blocks = [
      PolicyBlock(
        source: PolicySource(file: path, place: "[require]"), requirements: requirements)
    ]
    var notes: [String] = []
    for rule in rules {
      switch rule.match(facts) {
      case .no: continue
      case .partly(let note):
        notes.append("\(rule.source.place) matches in part: \(note)")
        blocks.append(PolicyBlock(source: rule.source, requirements: rule.requirements))
      case .yes:
        blocks.append(PolicyBlock(source: rule.source, requirements: rule.requirements))
        return Verdict(source: rule.source, action: rule.action, blocks: blocks, notes: notes)
      }
    }
    return Verdict(
      source: PolicySource(file: path, place: "default"), action: defaultAction, blocks: blocks,
      notes: notes)
  }
}
