// SPDX-License-Identifier: Apache-2.0

/// Text that others wrote, made fit to show.
package enum Text {
  /// The longest that a piece of foreign text gets in a message, in characters.
  static let limit = 200

  static func printable(_ text: String) -> String { printable(text, limit: limit) }

  /// One printable line: anything that could move a cursor or end the line is escaped.
  static func printable(_ text: String, limit: Int) -> String {
    var result = ""
    var count = 0
    for scalar in text.unicodeScalars {
      guard count < limit else { return result + "…" }
      count += 1
      switch scalar.properties.generalCategory {
      case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
        .paragraphSeparator:
        result += "\\u{" + String(scalar.value, radix: 16) + "}"
      default:
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// A path, shown whole but printable.
  static func path(_ path: String) -> String { printable(path, limit: 4096) }

  /// Several names, the first few of them, as `a, b and 3 more`.
  static func list(_ names: [String], showing most: Int = 5) -> String {
    let shown = names.prefix(most).map(printable).joined(separator: ", ")
    return names.count > most ? "\(shown) and \(names.count - most) more" : shown
  }

  /// A moment as `2026-01-31 12:00:00 UTC`, from seconds since 1970.
  package static func date(_ seconds: Int64) -> String {
    // The civil calendar counted from March, so that the leap day comes last in its year.
    let secondsOfDay = ((seconds % 86400) + 86400) % 86400
    let day = (seconds - secondsOfDay) / 86400 + 719_468
    let era = (day >= 0 ? day : day - 146_096) / 146_097
    let dayOfEra = day - era * 146_097
    let yearOfEra =
      (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let civilMonth = month < 10 ? month + 3 : month - 9
    let year = yearOfEra + era * 400 + (civilMonth <= 2 ? 1 : 0)
    let parts = [
      civilMonth, dayOfYear - (153 * month + 2) / 5 + 1,
      secondsOfDay / 3600, secondsOfDay / 60 % 60, secondsOfDay % 60,
    ].map { $0 < 10 ? "0\($0)" : "\($0)" }
    return "\(year)-\(parts[0])-\(parts[1]) \(parts[2]):\(parts[3]):\(parts[4]) UTC"
  }
}
