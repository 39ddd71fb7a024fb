// SPDX-License-Identifier: Apache-2.0

/// One line of nbd-client's table of connections, nbdtab(5).
struct NBDTabEntry: Hashable {
  let line: Int
  /// "nbd0".
  let device: String
  /// A host, or with the option `unix` a socket's path.
  let host: String
  let export: String
  /// In the order of the line; options without a value have none.
  let options: [Option]

  struct Option: Hashable {
    let key: String
    let value: String?
  }

  /// The value of an option; the last one counts, as it does for nbd-client.
  func value(_ key: String) -> String? { options.last { $0.key == key }?.value }
  func has(_ key: String) -> Bool { options.contains { $0.key == key } }

  private static let tlsOptions: Set = ["certfile", "keyfile", "cacertfile", "tlshostname"]
  /// Whether nbd-client would use TLS.
  var usesTLS: Bool { options.contains { Self.tlsOptions.contains($0.key) } }
}

/// A table that is not one.
struct NBDTabError: Error, Hashable {
  let line: Int
  let reason: String
}

/// Reads the whole table: fields between blanks, comments from `#` to the end of the line.
enum NBDTab {
  static func parse(_ text: String) throws(NBDTabError) -> [NBDTabEntry] {
    var entries: [NBDTabEntry] = []
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    for (index, whole) in lines.enumerated() {
      let line = index + 1
      let fields = whole.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" || $0 == "\r" }
        .map(String.init)
      guard !fields.isEmpty else { continue }
      guard (3...4).contains(fields.count) else {
        throw NBDTabError(
          line: line,
          reason: "\(fields.count) fields, where device, host, export and perhaps "
            + "options should be")
      }
      entries.append(
        NBDTabEntry(
          line: line, device: try device(fields[0], line), host: fields[1], export: fields[2],
          options: fields.count == 4 ? options(fields[3]) : []))
    }
    return entries
  }

  private static func device(_ text: String, _ line: Int) throws(NBDTabError) -> String {
    let digits = text.dropFirst(3)
    guard text.hasPrefix("nbd"), !digits.isEmpty, digits.utf8.count <= 7,
      digits.utf8.allSatisfy({ (48...57).contains($0) })
    else {
      throw NBDTabError(
        line: line, reason: "\"\(text.prefix(80))\" is no device's short name, such as nbd0")
    }
    return text
  }

  private static func options(_ text: String) -> [NBDTabEntry.Option] {
    text.split(separator: ",").map { option in
      let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return NBDTabEntry.Option(
        key: String(parts[0]), value: parts.count == 2 ? String(parts[1]) : nil)
    }
  }
}
