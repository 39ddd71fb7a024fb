// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import SystemPackage

/// Attachments made from an nbdtab(5).
public struct NBDTabImport: Sendable {
  private static let largest = 1 << 20

  private struct Part: Sendable {
    let file: String
    let text: String
    let credentials: String
    let links: [NBDTabTranslation.Link]
  }

  private let output: String
  private var parts: [Part] = []
  /// A line for each thing that is not carried over, naming file and line.
  public private(set) var notes: [String] = []
  /// The attachments' files.
  public var files: [String] { parts.map(\.file) }

  /// Reads a table; writes nothing yet.
  ///
  /// - Throws: `NBDSecureError` with `.forbidden` for a table that cannot be read or understood,
  ///   and for two entries of one device.
  public init(file: String, output: String) throws(NBDSecureError) {
    let bytes: [UInt8]
    do { bytes = try readFile(file, limit: Self.largest).bytes } catch {
      throw NBDSecureError(
        .forbidden, "\(file): cannot be read: \(error)",
        hint: error == .noSuchFileOrDirectory
          ? "name the table: nbd-secure import-nbdtab FILE" : nil,
        underlying: error)
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw NBDSecureError(.forbidden, "\(file): is not UTF-8 text")
    }
    try self.init(text: text, file: file, output: output)
  }

  init(text: String, file: String, output: String) throws(NBDSecureError) {
    self.output = absolutePath(output)
    let entries: [NBDTabEntry]
    do throws(NBDTabError) { entries = try NBDTab.parse(text) } catch {
      throw NBDSecureError(
        .forbidden, "\(file), line \(error.line): \(error.reason)",
        hint: "a line is: nbdN HOST EXPORT [OPTION,OPTION=VALUE,...]", underlying: error)
    }
    if entries.isEmpty { notes.append("\(file): has no entries") }
    var seen: Set<String> = []
    for entry in entries {
      guard seen.insert(entry.device).inserted else {
        throw NBDSecureError(
          .forbidden, "\(file), line \(entry.line): \(entry.device) has an entry already")
      }
      // Devices are unique in the table, and short names of theirs can be names of attachments.
      let base = "\(self.output)/\(entry.device)"
      let translation = NBDTabTranslation(entry, credentials: "\(base).pki")
      notes += translation.notes.map { "\(file), line \(entry.line), \(entry.device): \($0)" }
      guard let body = translation.text else { continue }
      for link in translation.links where (try? FileFacts(path: link.target)) == nil {
        notes.append(
          "\(file), line \(entry.line), \(entry.device): \(link.target) is missing: "
            + "the attachment cannot be used without it")
      }
      parts.append(
        Part(
          file: "\(base).toml", text: "# From \(file), line \(entry.line)\n" + body,
          credentials: "\(base).pki", links: translation.links))
    }
  }

  /// Writes the attachments, and for each a directory `NAME.pki` of links to its certificates,
  /// whose files stay where they are.
  ///
  /// - Throws: `NBDSecureError`, before anything is written where a file is there already.
  public func write() throws(NBDSecureError) {
    for path in parts.flatMap({ [$0.file, $0.credentials] }) where fileExists(path) {
      throw NBDSecureError(
        .forbidden, "\(path): is there already, and nothing is overwritten",
        hint: "move it away, or write elsewhere with --output")
    }
    guard !parts.isEmpty else { return }
    do throws(Errno) {
      try makeDirectory(output, mode: 0o755)
      for part in parts {
        if !part.links.isEmpty { try makeDirectory(part.credentials, mode: 0o755) }
        for link in part.links {
          try makeSymbolicLink("\(part.credentials)/\(link.name)", to: link.target)
        }
        try OwnFile.replace(part.file, Array(part.text.utf8), mode: 0o644)
      }
    } catch {
      throw NBDSecureError(.other, "\(output): cannot be written to: \(error)", underlying: error)
    }
  }
}
