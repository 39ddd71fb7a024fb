// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import LinuxIO
import NBDProtocol
import SystemPackage

/// What an interrupted copy leaves behind, so that another can go on: the file
/// `FILE.nbd-secure-resume`. It holds no secret. What it calls done was on stable storage when it was
/// written.
struct CopyState: Codable, Sendable, Hashable {
  static let suffix = ".nbd-secure-resume"
  static let currentVersion = 2

  var version = CopyState.currentVersion
  var direction: CopyRequest.Direction
  /// Server and export, as messages name them.
  var endpoint: String
  var exportSize: UInt64
  var exportFlags: UInt16
  /// Of the source file.
  var fileSize: UInt64?
  /// Its last change, nanoseconds since 1970: a second is long enough for two.
  var fileModified: Int64?
  /// Pairs of the first byte and the one behind the last.
  var done: [[UInt64]] = []

  /// What differs from the copy that `other` is of, so that this one cannot be gone on with; nil when
  /// it can.
  func difference(to other: CopyState) -> String? {
    if version != other.version { return "it was begun by another version" }
    if direction != other.direction { return "it was a copy in the other direction" }
    if endpoint != other.endpoint { return "it was a copy of \(endpoint)" }
    if exportSize != other.exportSize {
      return "the export's size is \(other.exportSize) instead of \(exportSize) bytes"
    }
    if exportFlags != other.exportFlags { return "the export's flags changed" }
    if fileSize != other.fileSize { return "the file's size changed" }
    if fileModified != other.fileModified { return "the file was changed" }
    return nil
  }

  /// What is done, within `whole`; nil when that makes no sense.
  func ranges(within whole: Range<UInt64>) -> ByteRanges? {
    var ranges = ByteRanges()
    for pair in done {
      guard pair.count == 2, pair[0] < pair[1], pair[1] <= whole.upperBound else { return nil }
      ranges.insert(pair[0]..<pair[1])
    }
    return ranges
  }

  /// Writes the file anew, in one step.
  func write(to path: String) throws(NBDSecureError) {
    guard let bytes = try? JSONEncoder().encode(self) else {
      throw NBDSecureError(.other, "\(path): cannot be encoded")
    }
    do { try OwnFile.replace(path, Array(bytes), mode: 0o600) } catch {
      throw NBDSecureError(.io, "\(path): cannot be written: \(error)", underlying: error)
    }
  }

  /// The file's contents; nil where there is none.
  ///
  /// - Throws: `NBDSecureError` with `.usage` for a file that is not one of ours.
  static func read(_ path: String) throws(NBDSecureError) -> CopyState? {
    let contents: FileContents
    do { contents = try readFile(path, limit: CopyLimits.sideFile) } catch {
      if error == .noSuchFileOrDirectory { return nil }
      throw NBDSecureError(.other, "\(path): cannot be read: \(error)", underlying: error)
    }
    // Who could write it could have us believe that everything was copied already.
    try PartialFile.check(contents.facts, path)
    let bytes = contents.bytes
    guard let state = try? JSONDecoder().decode(CopyState.self, from: Data(bytes)) else {
      throw usage(
        "\(path): not the record of an interrupted copy",
        hint: "leave out --resume to copy from the beginning")
    }
    return state
  }
}
