// SPDX-License-Identifier: Apache-2.0
import TOMLKit

/// A TOML value of the kinds that policy files use.
enum PolicyValue: Hashable, Sendable {
  case string(String)
  case integer(Int64)
  case boolean(Bool)
  case array([PolicyValue])
  case table([String: PolicyValue])
  /// Dates and floating-point numbers, by the name of their type.
  case other(String)

  /// The name of the type, for messages.
  var typeName: String {
    switch self {
    case .string: "a string"
    case .integer: "an integer"
    case .boolean: "a boolean"
    case .array: "an array"
    case .table: "a table"
    case .other(let name): "a \(name)"
    }
  }
}

/// The tree of a TOML file. All use of TOMLKit is here.
enum PolicyDocument {
  /// Parses a whole file. Throws for what is not TOML, naming the line.
  static func parse(_ text: String, file: String) throws(PolicyError) -> [String: PolicyValue] {
    // TOMLKit hands strings to C: a NUL would end the file, a key or a value early, unseen.
    if text.unicodeScalars.contains("\0") || mentionsNUL(text) {
      throw PolicyError(file: file, "it contains a NUL character")
    }
    let root: TOMLTable
    do {
      root = try TOMLTable(string: text)
    } catch let error as TOMLParseError {
      throw PolicyError(
        file: file, line: error.source.begin.line,
        "not valid TOML: \(Self.oneLine(error.description))")
    } catch {
      throw PolicyError(file: file, "not valid TOML")
    }
    // The table has no deinit: without this its nodes stay for ever.
    defer { root.clear() }
    return entries(of: root)
  }

  /// Escapes that decode to NUL, wherever they stand.
  private static func mentionsNUL(_ text: String) -> Bool {
    text.contains("\\u0000") || text.contains("\\U00000000") || text.contains("\\x00")
  }

  private static func entries(of table: TOMLTable) -> [String: PolicyValue] {
    var entries: [String: PolicyValue] = [:]
    for key in table.keys {
      if let found = table[key] { entries[key] = value(of: found) }
    }
    return entries
  }

  private static func value(of found: any TOMLValueConvertible) -> PolicyValue {
    switch found.type {
    case .string: found.string.map { .string($0) } ?? .other("string")
    case .int: found.int.map { .integer(Int64($0)) } ?? .other("integer")
    case .bool: found.bool.map { .boolean($0) } ?? .other("boolean")
    case .array: .array((found.array?.map { $0 } ?? []).map { value(of: $0) })
    case .table: .table(found.table.map { entries(of: $0) } ?? [:])
    default: .other(found.type.description)
    }
  }

  /// Parser messages quote the file: keep what they quote on one short line.
  private static func oneLine(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.prefix(200).map { $0.value < 0x20 || $0.value == 0x7f ? " " : $0 }))
  }
}
