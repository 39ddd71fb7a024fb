// SPDX-License-Identifier: Apache-2.0

/// Policy's answer to a question.
public enum PolicyDecision: Hashable, Sendable {
  /// Every file allows, and the connection must keep to these parameters.
  case allowed(PolicyParameters)
  /// At least one file refuses.
  case refused(PolicyRefusal)
}

/// Why policy refuses: which file, which rule of it, which key.
public struct PolicyRefusal: Error, Hashable, Sendable, Codable {
  /// The file that refuses, or `built-in policy`.
  public let file: String
  /// The part of it: `[require]`, `rule 2 "database"` or `default`.
  public let rule: String
  /// The key that decides; nil where the rule as a whole does.
  public let key: String?
  /// One line that names file, rule and reason.
  public let summary: String
  /// What to do about it.
  public let hint: String?
  /// Whether the peer's identity is what is not proven (a pin, the same key, the name): exit
  /// status 77. Anything else that policy refuses is 78.
  public let isIdentity: Bool

  init(
    at source: PolicySource, key: PolicyKey? = nil, _ reason: String, hint: String? = nil,
    isIdentity: Bool = false
  ) {
    file = source.file
    rule = source.place
    self.key = key?.rawValue
    let position = [source.file, source.place, key?.rawValue].compactMap { $0 }
    summary = printable("policy refuses: \(reason) (\(position.joined(separator: ", ")))")
    self.hint = hint.map(printable)
    self.isIdentity = isIdentity
  }
}

/// A place in a policy file that decides or requires something.
struct PolicySource: Hashable, Sendable {
  let file: String
  /// `[require]`, `rule 2 "database"` or `default`.
  let place: String

  var text: String { "\(file) \(place)" }
}

/// A policy file that cannot be used. As long as there is one, nothing is allowed: exit status 78.
public struct PolicyError: Error, Hashable, Sendable {
  /// The file or directory.
  public let file: String
  /// The line, where the parser tells one.
  public let line: Int?
  /// The key, as a path: `rule[2].pins`.
  public let key: String?
  /// What is wrong, without file and key.
  public let reason: String
  /// What to do about it.
  public let hint: String?

  init(
    file: String, line: Int? = nil, key: String? = nil, _ reason: String, hint: String? = nil
  ) {
    self.file = file
    self.line = line
    self.key = key.map(printable)
    self.reason = printable(reason)
    self.hint = hint.map(printable)
  }

  /// One line: `policy file FILE, line 3, KEY: WHY`.
  public var summary: String {
    var text = "policy file \(file)"
    if let line { text += ", line \(line)" }
    if let key { text += ", \(key)" }
    return "\(text): \(reason)"
  }
}

/// On one line, whatever names and values out of files and options are quoted in it.
private func printable(_ text: String) -> String {
  String(
    String.UnicodeScalarView(
      text.unicodeScalars.map { scalar in
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: "?"
        default: scalar
        }
      }))
}
