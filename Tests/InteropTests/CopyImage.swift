// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// A disk image with data, holes, and zeroes that are written out, in a directory of its own.
struct CopyImage {
  let directory: TemporaryDirectory
  let path: String
  let size: Int

  /// Data in the first and the last bytes, and here and there in between.
  init(size: Int = 16 << 20) throws {
    directory = try TemporaryDirectory()
    path = try directory.disk("source.img", size: size)
    self.size = size
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    defer { try? file.close() }
    for (offset, count) in [
      (0, 5000), (1 << 20, 300_000), ((3 << 20) - 100, 200), ((9 << 20) + 4096, 70_000),
      (size - 777, 777),
    ] {
      try file.seek(toOffset: UInt64(offset))
      try file.write(contentsOf: Self.bytes(count, seed: UInt64(offset) | 1))
    }
    // Zeroes on the disk, not a hole.
    try file.seek(toOffset: 5 << 20)
    try file.write(contentsOf: Data(count: 1 << 20))
  }

  /// Bytes that no compression and no pattern makes small.
  static func bytes(_ count: Int, seed: UInt64) -> Data {
    var state = seed
    var words = [UInt64](repeating: 0, count: count / 8 + 1)
    for index in words.indices {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      words[index] = state
    }
    return words.withUnsafeBytes { Data($0.prefix(count)) }
  }

  /// A path beside the image.
  func file(_ name: String) -> String { directory.file(name) }

  /// The names in its directory.
  var names: Set<String> {
    Set((try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? [])
  }
}

/// Whether two files hold the same bytes; what cmp says where they do not.
func difference(_ a: String, _ b: String) throws -> String {
  let seen = try run("cmp", [a, b])
  return seen.status == 0 ? "" : seen.description
}

/// Bytes that a file takes on the disk.
func allocated(_ path: String) -> Int {
  var facts = stat()
  return stat(path, &facts) == 0 ? Int(facts.st_blocks) * 512 : -1
}
