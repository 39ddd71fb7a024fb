// SPDX-License-Identifier: Apache-2.0

/// A TOML value of the kinds that our files use, and the line on which it stands.
struct TOMLValue: Hashable, Sendable {
  enum Kind: Hashable, Sendable {
    case string(String)
    case integer(Int64)
    case boolean(Bool)
    case array([TOMLValue])
    case table([String: TOMLValue])
    /// Dates and floating-point numbers: valid TOML that no file of ours asks for.
    case other(String)
  }

  let kind: Kind
  let line: Int

  /// The name of the type, for messages.
  var typeName: String {
    switch kind {
    case .string: "a string"
    case .integer: "an integer"
    case .boolean: "a boolean"
    case .array: "an array"
    case .table: "a table"
    case .other(let name): "a \(name)"
    }
  }
}

/// Why a text is not TOML.
struct TOMLError: Error, Hashable {
  let line: Int
  let reason: String
}
