// SPDX-License-Identifier: Apache-2.0

extension TOMLParser {
  /// Booleans and numbers (TOML 1.0.0, sections Integer, Float, Offset Date-Time and on).
  static func scalar(_ word: String) -> TOMLValue.Kind? {
    switch word {
    case "true": return .boolean(true)
    case "false": return .boolean(false)
    case "inf", "+inf", "-inf", "nan", "+nan", "-nan": return .other("floating-point number")
    default: return integer(word).map { .integer($0) } ?? float(word) ?? date(word)
    }
  }

  private static func integer(_ word: String) -> Int64? {
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where word.hasPrefix(prefix) {
      return digits(word.dropFirst(2), radix).flatMap { Int64($0, radix: radix) }
    }
    let isSigned = word.hasPrefix("+") || word.hasPrefix("-")
    guard let plain = digits(isSigned ? word.dropFirst() : word[...], 10),
      plain == "0" || !plain.hasPrefix("0")
    else { return nil }
    return Int64((word.hasPrefix("-") ? "-" : "") + plain)
  }

  /// The digits without underscores, which may stand between digits only; nil for anything else.
  private static func digits(_ text: Substring, _ radix: Int) -> String? {
    let groups = text.split(separator: "_", omittingEmptySubsequences: false)
    let isSound = groups.allSatisfy { group in
      !group.isEmpty && group.allSatisfy { $0.isASCII && ($0.hexDigitValue ?? 16) < radix }
    }
    return isSound ? groups.joined() : nil
  }

  private static func float(_ word: String) -> TOMLValue.Kind? {
    let unsigned = word.hasPrefix("+") || word.hasPrefix("-") ? word.dropFirst() : word[...]
    let halves = unsigned.lowercased().split(
      separator: "e", maxSplits: 1, omittingEmptySubsequences: false)
    guard let mantissa = halves.first else { return nil }
    if halves.count == 2 {
      let sign = halves[1].hasPrefix("+") || halves[1].hasPrefix("-")
      guard digits(sign ? halves[1].dropFirst() : halves[1], 10) != nil else { return nil }
    }
    let parts = mantissa.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count + halves.count >= 3, parts.count <= 2,
      let whole = parts.first.flatMap({ digits($0, 10) }), whole == "0" || !whole.hasPrefix("0"),
      parts.dropFirst().allSatisfy({ digits($0, 10) != nil })
    else { return nil }
    return .other("floating-point number")
  }

  /// Recognised by its shape: whatever it says, no file of ours asks for a date.
  private static func date(_ word: String) -> TOMLValue.Kind? {
    let shape = word.utf8.prefix(10).map { (0x30...0x39).contains($0) ? UInt8(ascii: "0") : $0 }
    if shape.starts(with: "0000-00-00".utf8) { return .other("date") }
    return shape.starts(with: "00:00".utf8) ? .other("time") : nil
  }
}
