// SPDX-License-Identifier: Apache-2.0

/// The name of an export: UTF-8, at most 4096 bytes, no NUL (proto.md, "Conventions"). Free text,
/// not a path; the empty name is the default export.
package struct ExportName: Hashable, Sendable, CustomStringConvertible {
  /// Longest name the protocol allows, in bytes of UTF-8.
  package static let maximumLength = 4096

  /// The default export, "".
  package static let defaultExport = ExportName(checked: "")

  /// The name as sent on the wire.
  package let string: String

  /// Throws when `string` is longer than the protocol allows or contains NUL.
  package init(_ string: String) throws(ExportNameError) {
    let length = string.utf8.count
    guard length <= Self.maximumLength else { throw .tooLong(bytes: length) }
    guard !string.utf8.contains(0) else { throw .containsNUL }
    self.string = string
  }

  private init(checked string: String) { self.string = string }

  /// The name fit for a terminal, in quotes.
  package var description: String { Printable.quoted(string) }

  // Swift compares strings by canonical equivalence, a server by bytes: names are their bytes.

  package static func == (a: ExportName, b: ExportName) -> Bool {
    a.string.utf8.elementsEqual(b.string.utf8)
  }

  package func hash(into hasher: inout Hasher) {
    for byte in string.utf8 { hasher.combine(byte) }
  }

  /// Whether `bytes` are this name.
  func matches(_ bytes: some Sequence<UInt8>) -> Bool { string.utf8.elementsEqual(bytes) }
}

/// Why a text cannot be the name of an export.
package enum ExportNameError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Longer than `ExportName.maximumLength`.
  case tooLong(bytes: Int)
  /// The protocol forbids NUL in strings.
  case containsNUL

  /// One line for the user.
  package var description: String {
    switch self {
    case .tooLong(let bytes):
      "export name of \(bytes) bytes is too long (at most \(ExportName.maximumLength))"
    case .containsNUL: "export name contains a NUL character"
    }
  }
}
