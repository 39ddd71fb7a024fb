// SPDX-License-Identifier: Apache-2.0

/// What `policy show` prints: every file and rule as it was understood.
public struct PolicyDescription: Hashable, Sendable, Codable {
  /// One policy file.
  public struct File: Hashable, Sendable, Codable {
    /// Its path, or `built-in policy`.
    public let file: String
    /// What happens to what no rule matches.
    public let defaultAction: PolicyAction
    /// `[require]`: the values of each key.
    public let require: [String: [String]]
    /// The rules in the order in which they are tried.
    public let rules: [Rule]
  }

  /// One rule.
  public struct Rule: Hashable, Sendable, Codable {
    /// Its place among the file's rules, from 1.
    public let number: Int
    /// Its name, if it has one.
    public let name: String?
    /// What it does with what it matches.
    public let action: PolicyAction
    /// `host`, `address`, `unix`, `vsock`, `export`: the patterns of each.
    public let match: [String: [String]]
    /// The values of each key that it requires.
    public let require: [String: [String]]
  }

  /// Every file; all of them must allow.
  public let files: [File]

  /// The description as text, a line each.
  public var lines: [String] {
    var lines: [String] = []
    for file in files {
      lines.append(file.file)
      lines.append("  default: \(file.defaultAction.rawValue)")
      lines += Self.lines(file.require, order: PolicyKey.allCases.map(\.rawValue)).map {
        "  require: \($0)"
      }
      for rule in file.rules {
        let name = rule.name.map { " \"\($0)\"" } ?? ""
        lines.append("  rule \(rule.number)\(name): \(rule.action.rawValue)")
        lines += Self.lines(rule.match, order: PolicyRule.matchKeys).map { "    if \($0)" }
        lines += Self.lines(rule.require, order: PolicyKey.allCases.map(\.rawValue)).map {
          "    require: \($0)"
        }
      }
    }
    return lines
  }

  private static func lines(_ values: [String: [String]], order: [String]) -> [String] {
    order.compactMap { key in values[key].map { "\(key) = \($0.joined(separator: ", "))" } }
  }
}

extension PolicySet {
  /// What `policy show` prints.
  public func describe() -> PolicyDescription {
    PolicyDescription(
      files: files.map { file in
        PolicyDescription.File(
          file: file.path, defaultAction: file.defaultAction, require: file.requirements.texts,
          rules: file.rules.enumerated().map { index, rule in
            PolicyDescription.Rule(
              number: index + 1, name: rule.name, action: rule.action, match: rule.matchTexts,
              require: rule.requirements.texts)
          })
      })
  }
}

extension PolicyRequirements {
  /// The keys given, with their values.
  fileprivate var texts: [String: [String]] {
    Dictionary(
      uniqueKeysWithValues: PolicyKey.allCases.compactMap { key in
        texts(for: key).map { (key.rawValue, $0) }
      })
  }
}

extension PolicyRule {
  fileprivate var matchTexts: [String: [String]] {
    var texts: [String: [String]] = [:]
    texts["host"] = hosts?.map(\.text)
    texts["address"] = addresses?.map(\.text)
    texts["unix"] = unixPaths?.map(\.text)
    texts["vsock"] = vsock?.map(\.text)
    texts["export"] = exports?.map(\.text)
    return texts
  }
}
