// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import SystemPackage

/// An attachment that a file describes: `/etc/nbd-secure/attachments/NAME.toml`. Its keys are the
/// long options of `attach`; see nbd-secure-attachment(5).
public struct NamedAttachment: Sendable {
  /// Where the host's attachments lie.
  public static let directory = "/etc/nbd-secure/attachments"

  public let name: AttachmentName
  /// The file's path.
  public let file: String
  /// What the file asks for, checked, with the name in it.
  public let request: AttachRequest

  /// Reads an attachment.
  ///
  /// - Parameter text: a name, or the path of a file: what has a slash in it.
  /// - Throws: `NBDSecureError`: `.usage` for what can be no name, `.forbidden` for a file that is
  ///   missing, unsafe or malformed, and what `ConnectionRequest` throws for credentials.
  public init(_ text: String) throws(NBDSecureError) {
    if text.contains("/") {
      let file = absolutePath(text)
      let last = FilePath(file).lastComponent?.string ?? ""
      guard last.hasSuffix(".toml") else {
        throw usage(
          "\(text): not the name of an attachment, nor a file that ends in .toml")
      }
      try self.init(Self.checkedName(String(last.dropLast(5)), from: text), file: file)
    } else {
      let name = try Self.checkedName(text, from: text)
      try self.init(name, file: "\(Self.directory)/\(name).toml")
    }
  }

  private init(_ name: AttachmentName, file: String) throws(NBDSecureError) {
    let text: String
    do throws(PolicyError) {
      guard try PolicyStorage.isPresent(file) else { throw Self.missing(name, file) }
      // Who can write to the directory can put another file there.
      try PolicyStorage.checkDirectory(FilePath(file).removingLastComponent().string)
      text = try PolicyStorage.read(file)
    } catch { throw Self.malformed(error) }
    try self.init(name, file: file, text: text)
  }

  /// Parses a file's text.
  init(_ name: AttachmentName, file: String, text: String) throws(NBDSecureError) {
    self.name = name
    self.file = file
    let settings: AttachmentSettings
    do throws(PolicyError) {
      settings = try AttachmentSettings(parsing: text, file: file)
    } catch { throw Self.malformed(error) }
    do throws(NBDSecureError) {
      var request = AttachRequest(try ConnectionRequest(settings.connection))
      settings.apply(to: &request)
      request.name = name
      if let device = request.device { _ = try deviceIndex(device) }
      try request.validate()
      self.request = request
    } catch {
      // The file is at fault, not the command line.
      throw NBDSecureError(
        error.code == .usage ? .forbidden : error.code,
        "attachment file \(file): \(error.summary)", hint: error.hint, underlying: error)
    }
  }

  private static func checkedName(
    _ text: String, from given: String
  ) throws(NBDSecureError) -> AttachmentName {
    guard let name = AttachmentName(text) else {
      throw usage(
        given.isEmpty
          ? "an attachment's name: must not be empty" : "\(given): cannot be an attachment's name",
        hint: "a name is letters, digits, '.', '_' and '-', at most 64, the first a letter or digit"
      )
    }
    return name
  }

  private static func missing(_ name: AttachmentName, _ file: String) -> PolicyError {
    let known = names()
    return PolicyError(
      file: file, "there is no such file",
      hint: known.isEmpty
        ? "describe the attachment there: nbd-secure-attachment(5)"
        : "there are: \(known.map(\.description).joined(separator: ", "))")
  }

  private static func malformed(_ error: PolicyError) -> NBDSecureError {
    var text = "attachment file \(error.file)"
    if let line = error.line { text += ", line \(line)" }
    if let key = error.key { text += ", \(key)" }
    return NBDSecureError(
      .forbidden, "\(text): \(error.reason)", hint: error.hint, underlying: error)
  }

  /// The names of the host's attachments; none where the directory is missing or cannot be read.
  public static func names() -> [AttachmentName] {
    ((try? listDirectory(directory)) ?? []).filter { $0.hasSuffix(".toml") }
      .compactMap { AttachmentName(String($0.dropLast(5))) }.sorted()
  }
}
