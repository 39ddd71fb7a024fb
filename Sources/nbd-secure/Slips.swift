// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// What people type who mean something else: told by name, where the parser alone would take it for
/// something that it knows.
enum Slips {
  /// The verbs that there are.
  private static var verbs: [String] {
    NBDSecureCommand.configuration.subcommands.filter { $0.configuration.shouldDisplay }.compactMap
    {
      $0.configuration.commandName
    }
  }

  /// A first word that is neither a verb nor a URI; nil where it is one, or there is none.
  static func verb(in arguments: [String]) -> NBDSecureError? {
    if let flags = arguments.firstIndex(where: { !isFlag($0) }), flags > 0,
      verbs.contains(arguments[flags])
    {
      return NBDSecureError(
        .usage, "\(arguments[flags]): the verb comes first",
        hint: "nbd-secure \(arguments[flags]) \(arguments[..<flags].joined(separator: " "))")
    }
    guard var word = arguments.first else { return nil }
    // The parser's own verb.
    if word == "help", arguments.count > 1 { word = arguments[1] }
    guard !word.hasPrefix("-"), !word.contains(":"), !verbs.contains(word), word != "help",
      word != "udev-properties"
    else { return nil }
    return error(for: word)
  }

  /// Options of every verb that take no value.
  private static func isFlag(_ argument: String) -> Bool {
    ["--verbose", "--quiet", "--json"].contains(argument)
      || argument.hasPrefix("-v") && argument.dropFirst().allSatisfy { $0 == "v" }
  }

  private static func error(for word: String) -> NBDSecureError {
    if word.isEmpty { return NBDSecureError(.usage, "the verb: must not be empty") }
    if word.hasPrefix("/dev/nbd")
      || word.hasPrefix("nbd") && word.dropFirst(3).allSatisfy(\.isNumber)
    {
      return NBDSecureError(
        .usage, "\(word): a verb is due, or an NBD URI",
        hint: "nbd-secure status \(word), or nbd-secure detach \(word)")
    }
    if NamedAttachment.names().contains(where: { $0.description == word }) {
      return NBDSecureError(
        .usage, "\(word): a verb is due, or an NBD URI", hint: "nbd-secure up \(word) attaches it")
    }
    let nearest = verbs.min { distance(word, $0) < distance(word, $1) }
    let isNear = nearest.map { distance(word, $0) <= max(word.count / 3, 1) } ?? false
    return NBDSecureError(
      .usage, "\(word): there is no such verb",
      hint: (isNear ? nearest.map { "did you mean \($0)? " } ?? "" : "")
        + "nbd-secure --help lists them; an export is named by a URI, or with --hostname")
  }

  /// Several letters behind one dash, in which the parser finds the -h of help.
  static func dash(in arguments: [String]) -> NBDSecureError? {
    let asksForHelp: Set = ["--help", "-h", "--version", "--generate-completion-script"]
    guard !arguments.contains(where: { asksForHelp.contains(String($0.prefix { $0 != "=" })) }),
      let slip = arguments.first(where: {
        $0.hasPrefix("-") && !$0.hasPrefix("--") && $0.count > 2 && $0.contains("h")
      })
    else { return nil }
    return NBDSecureError(
      .usage, "\(slip): no such option", hint: "long options have two dashes: -\(slip)")
  }

  /// The options of which an unknown one is the beginning.
  static func options(beginningWith option: String) -> [String] {
    let help = AttachCommand.helpMessage(columns: 200)
    let known = help.matches(of: /--[a-z-]+/).map { String($0.0) }
    return Set(known).filter { $0.hasPrefix(option) }.sorted()
  }

  /// Levenshtein's distance, a swap of neighbours counted as one.
  static func distance(_ one: String, _ other: String) -> Int {
    let (a, b) = (Array(one.utf8), Array(other.utf8))
    var before: [Int] = []
    var last = Array(0...b.count)
    for i in a.indices {
      var row = [i + 1]
      for j in b.indices {
        var best = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, before[j - 1] + 1) }
        row.append(best)
      }
      (before, last) = (last, row)
    }
    return last[b.count]
  }
}
