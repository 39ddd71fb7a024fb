// SPDX-License-Identifier: Apache-2.0

/// Reads the values of one table of a policy file; what is left over at the end is an unknown key.
///
/// Errors name the line and the key and no value: the file that was named may be another one than
/// was meant, with secrets in it.
struct PolicyReader {
  /// No list of a policy file is longer.
  static let maximumListLength = 1024

  let file: String
  /// The table's own path (`rule[2]`), empty at the top.
  let path: String
  /// The line on which the table begins.
  private let line: Int
  private var entries: [String: TOMLValue]
  /// The lines of keys that were taken already.
  private var lines: [String: Int] = [:]

  init(file: String, path: String, line: Int, entries: [String: TOMLValue]) {
    self.file = file
    self.path = path
    self.line = line
    self.entries = entries
  }

  /// The table of a whole file.
  init(parsing text: String, file: String) throws(PolicyError) {
    let entries: [String: TOMLValue]
    do throws(TOMLError) {
      entries = try TOMLParser.parse(text)
    } catch {
      throw PolicyError(file: file, line: error.line, "not valid TOML: \(error.reason)")
    }
    self.init(file: file, path: "", line: 1, entries: entries)
  }

  /// The full name of a key, for messages.
  private func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  func error(_ key: String, _ reason: String, hint: String? = nil) -> PolicyError {
    PolicyError(
      file: file, line: entries[key]?.line ?? lines[key] ?? line, key: name(key), reason,
      hint: hint)
  }

  private mutating func take(_ key: String) -> TOMLValue? {
    let value = entries.removeValue(forKey: key)
    lines[key] = value?.line
    return value
  }

  private func wrongType(_ key: String, _ value: TOMLValue?, wanted: String) -> PolicyError {
    PolicyError(
      file: file, line: value?.line ?? line, key: name(key),
      "must be \(wanted), not \(value?.typeName ?? "nothing")")
  }

  mutating func string(_ key: String) throws(PolicyError) -> String? {
    let value = take(key)
    switch value?.kind {
    case nil: return nil
    case .string(let text): return text
    case .some: throw wrongType(key, value, wanted: "a string")
    }
  }

  mutating func boolean(_ key: String) throws(PolicyError) -> Bool? {
    let value = take(key)
    switch value?.kind {
    case nil: return nil
    case .boolean(let flag): return flag
    case .some: throw wrongType(key, value, wanted: "true or false")
    }
  }

  mutating func integer(_ key: String, in range: ClosedRange<Int64>) throws(PolicyError) -> Int64? {
    let value = take(key)
    switch value?.kind {
    case nil: return nil
    case .integer(let number):
      guard range.contains(number) else {
        throw error(key, "must be from \(range.lowerBound) to \(range.upperBound)")
      }
      return number
    case .some: throw wrongType(key, value, wanted: "an integer")
    }
  }

  mutating func table(_ key: String) throws(PolicyError) -> PolicyReader? {
    let value = take(key)
    switch value?.kind {
    case nil: return nil
    case .table(let entries):
      return PolicyReader(
        file: file, path: name(key), line: value?.line ?? line, entries: entries)
    case .some: throw wrongType(key, value, wanted: "a table")
    }
  }

  mutating func tables(_ key: String) throws(PolicyError) -> [PolicyReader] {
    let value = take(key)
    switch value?.kind {
    case nil: return []
    case .array(let values):
      var readers: [PolicyReader] = []
      for (index, value) in values.enumerated() {
        let place = "\(key)[\(index + 1)]"
        guard case .table(let entries) = value.kind else {
          throw wrongType(place, value, wanted: "a table")
        }
        readers.append(
          PolicyReader(file: file, path: name(place), line: value.line, entries: entries))
      }
      return readers
    case .some: throw wrongType(key, value, wanted: "tables: [[\(key)]]")
    }
  }

  /// One of a set of words.
  mutating func word<Word>(_ key: String) throws(PolicyError) -> Word?
  where Word: RawRepresentable<String> & CaseIterable {
    guard let text = try string(key) else { return nil }
    guard let word = Word(rawValue: text) else {
      let known = Word.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
      throw error(key, "unknown value", hint: "one of \(known)")
    }
    return word
  }

  /// A list of strings, or a single one, each parsed by `parse`. An empty list is refused: it
  /// could mean everything or nothing.
  mutating func list<Element>(
    _ key: String, of what: String, _ parse: (String) -> Element?
  ) throws(PolicyError) -> [Element]? {
    let values: [TOMLValue]
    guard let value = take(key) else { return nil }
    if case .array(let array) = value.kind { values = array } else { values = [value] }
    guard !values.isEmpty else { throw error(key, "is an empty list") }
    guard values.count <= Self.maximumListLength else {
      throw error(key, "has more than \(Self.maximumListLength) entries")
    }
    var elements: [Element] = []
    for value in values {
      let text: String
      switch value.kind {
      case .string(let string): text = string
      case .integer(let number) where Element.self == PolicyVsockPattern.self: text = "\(number)"
      default: throw wrongType(key, value, wanted: "a list of \(what)")
      }
      guard text.utf8.count <= PolicyGlob.maximumLength, let element = parse(text) else {
        throw PolicyError(
          file: file, line: value.line, key: name(key), "an entry is none of: \(what)")
      }
      elements.append(element)
    }
    return elements
  }

  /// Refuses what nobody took.
  func finish(known: [String]) throws(PolicyError) {
    guard let (key, value) = entries.min(by: { $0.value.line < $1.value.line }) else { return }
    throw PolicyError(
      file: file, line: value.line, key: name(String(key.prefix(80))), "unknown key",
      hint: "known here: \(known.joined(separator: ", "))")
  }
}
