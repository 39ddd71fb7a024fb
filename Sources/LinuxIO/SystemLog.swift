// SPDX-License-Identifier: Apache-2.0
internal import CLinux
package import SystemPackage

/// How grave an event is, as syslog(3) and the journal number it.
package enum LogPriority: Int, Sendable, Comparable {
  case critical = 2
  case error, warning, notice, info, debug

  package static func < (a: LogPriority, b: LogPriority) -> Bool { a.rawValue < b.rawValue }
}

/// The log of the host: the journal where there is one, else syslog.
///
/// Nothing is kept open but one datagram socket, so that a restart of the log daemon is survived.
/// Messages that nobody takes are dropped: logging never blocks I/O.
package final class SystemLog: Sendable {
  /// Messages are cut at so many bytes, well below what a datagram takes.
  package static let messageLimit = 8192

  private let socket: Descriptor
  private let identifier: String
  private let journalPath: String
  private let syslogPath: String

  /// `identifier` names the program in every line. The paths are for tests.
  package init(
    identifier: String, journalPath: String = "/run/systemd/journal/socket",
    syslogPath: String = "/dev/log"
  ) throws(Errno) {
    socket = try datagramSocket()
    self.identifier = identifier
    self.journalPath = journalPath
    self.syslogPath = syslogPath
  }

  /// Writes one event; further journal fields as (NAME, value). Whether somebody took it.
  @discardableResult
  package func write(
    _ priority: LogPriority, _ message: String, fields: [(String, String)] = []
  ) -> Bool {
    let journal = Self.journalEntry(
      priority, Self.cut(message), identifier: identifier, fields: fields)
    if send(journal, to: journalPath) { return true }
    // 24 is LOG_DAEMON.
    var time = [CChar](repeating: 0, count: 16)
    unsafe clinux_syslog_time(&time)
    let stamp = String(
      decoding: time.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let line =
      "<\(24 + priority.rawValue)>\(stamp) \(identifier)[\(ThisProcess.identifier)]: "
      + String(Self.cut(message).map { $0 == "\n" ? " " : $0 })
    return send(Array(line.utf8), to: syslogPath)
  }

  private func send(_ bytes: [UInt8], to path: String) -> Bool {
    do {
      try sendDatagram(socket.raw, bytes, to: .unix(path: path))
      return true
    } catch {
      return false
    }
  }

  private static func cut(_ message: String) -> String {
    message.utf8.count <= messageLimit
      ? message : String(decoding: message.utf8.prefix(messageLimit), as: UTF8.self)
  }

  /// The journal's native form: NAME=value lines, and for values with line breaks the name alone,
  /// the length in 8 bytes little-endian, the value.
  static func journalEntry(
    _ priority: LogPriority, _ message: String, identifier: String, fields: [(String, String)]
  ) -> [UInt8] {
    var bytes: [UInt8] = []
    let all =
      [
        ("PRIORITY", String(priority.rawValue)), ("SYSLOG_IDENTIFIER", identifier),
        ("MESSAGE", message),
      ] + fields
    for (name, value) in all {
      bytes += name.utf8
      if value.utf8.contains(10) {
        bytes.append(10)
        let count = UInt64(value.utf8.count)
        for shift in stride(from: UInt64(0), to: 64, by: 8) {
          bytes.append(UInt8(truncatingIfNeeded: count >> shift))
        }
      } else {
        bytes.append(UInt8(ascii: "="))
      }
      bytes += value.utf8
      bytes.append(10)
    }
    return bytes
  }
}
