// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDSecure
import Synchronization

/// How far a copy is, in one line of the terminal that is written over and over. Where standard error
/// is no terminal there is none.
final class ProgressBar: Sendable {
  private static let width = 24
  private let isShown = Mutex(false)

  /// Nil where standard error is no terminal.
  init?() {
    guard isTerminal(2) else { return nil }
  }

  /// Shows the state of things.
  func show(_ progress: CopyProgress) {
    isShown.withLock { $0 = true }
    // The terminal may be made wider or narrower at any time.
    let columns = terminalColumns(2) ?? 80
    Self.write("\r" + Self.line(progress, columns: columns) + "\u{1b}[K")
  }

  /// Leaves the line to others.
  func clear() {
    let wasShown = isShown.withLock { shown in
      defer { shown = false }
      return shown
    }
    if wasShown { Self.write("\r\u{1b}[K") }
  }

  /// " 45 % [##########              ] 4.5 GiB of 10 GiB, 512 MiB/s, 0:12 left", with a shorter bar
  /// or less text where the terminal is narrow: a line that wraps cannot be written over.
  static func line(_ progress: CopyProgress, columns: Int) -> String {
    let room = max(0, columns - 1)
    if progress.phase == .flushing {
      return String("waiting until all is on stable storage".prefix(room))
    }
    let what = progress.phase == .verifying ? "verifying " : ""
    let rate = "\(TextForm.bytes(UInt64(max(0, progress.rate))))/s"
    guard let total = progress.total else {
      return String("\(what)\(TextForm.bytes(progress.done)), \(rate)".prefix(room))
    }
    let share = total == 0 ? 1 : min(1, Double(progress.done) / Double(total))
    let percent = "\(Int(share * 100))"
    let head = what + String(repeating: " ", count: 3 - percent.count) + "\(percent) % "
    var tail = "\(TextForm.bytes(progress.done)) of \(TextForm.bytes(total)), \(rate)"
    if let seconds = progress.remaining { tail += ", \(time(seconds)) left" }
    let width = min(Self.width, room - head.count - tail.count - 3)
    guard width >= 4 else { return String((head + tail).prefix(room)) }
    let filled = Int(share * Double(width))
    return head + "[" + String(repeating: "#", count: filled)
      + String(repeating: " ", count: width - filled) + "] " + tail
  }

  /// "0:12", "1:02:03".
  private static func time(_ seconds: Double) -> String {
    guard seconds < 360_000 else { return "days" }
    let whole = Int(seconds.rounded(.up))
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let minutes = whole / 60 % 60
    return whole < 3600
      ? "\(minutes):\(two(whole % 60))" : "\(whole / 3600):\(two(minutes)):\(two(whole % 60))"
  }

  private static func write(_ text: String) {
    // A terminal that is gone needs no progress.
    try? writeAll(2, Array(text.utf8))
  }
}
