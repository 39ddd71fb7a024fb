// SPDX-License-Identifier: Apache-2.0

extension Outcome {
  /// What is wrong with the way the program refused; empty when it refused as promised: the exit
  /// status, nothing on standard output, one line `nbd-secure: …` that says each of `saying`, and at
  /// most one `hint:` line behind it, which says `hinting`. Lines of warnings may come before. `limit`
  /// is in seconds, on a quiet machine.
  package func deviations(
    status wanted: Int32, saying: [String] = [], hinting: String? = nil, within limit: Double = 10
  ) -> [String] {
    var wrong: [String] = []
    if ending != .exited(wanted) { wrong.append("ended with \(ending), not status \(wanted)") }
    if !stdout.isEmpty { wrong.append("printed on standard output") }
    if seconds > limit * patience { wrong.append("took \(seconds) s, more than \(limit) s") }
    if !streamsReleased { wrong.append("left a process behind that holds its standard streams") }
    var lines = errorLines.filter { !$0.hasPrefix("nbd-secure: warning: ") }
    var hint: String?
    if lines.count > 1, let last = lines.last, last.hasPrefix("hint: ") {
      hint = last
      lines.removeLast()
    }
    if lines.count != 1 { wrong.append("\(lines.count) lines of error, not one") }
    let line = lines.first ?? ""
    if !line.hasPrefix("nbd-secure: ") { wrong.append("the line does not begin with nbd-secure:") }
    for text in saying where !line.lowercased().contains(text.lowercased()) {
      wrong.append("the line does not say \"\(text)\"")
    }
    if let hinting, !(hint ?? "").lowercased().contains(hinting.lowercased()) {
      wrong.append("the hint does not say \"\(hinting)\"")
    }
    return wrong.isEmpty ? [] : wrong + [description]
  }
}
