// SPDX-License-Identifier: Apache-2.0
import Foundation
import NBDKernel
import NBDProtocol
import TestSupport
import Testing

@testable import NBDSecure

/// With which exports a device goes on whose supervisor died.
@Suite struct AdoptionTests {
  private static let usual: ExportFlags = [
    .hasFlags, .sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes, .canMultiConn,
  ]
  private static let size: UInt64 = 1 << 20
  private let root: TemporaryDirectory
  private let device: DeviceIndex

  /// A device as the kernel shows it that was told of all the usual flags.
  init() throws {
    root = try TemporaryDirectory()
    device = try #require(DeviceIndex("nbd7"))
    let queue = root.file("block/nbd7/queue")
    try FileManager.default.createDirectory(atPath: queue, withIntermediateDirectories: true)
    for (name, text) in [
      ("size", "\(Self.size / 512)"), ("ro", "0"), ("queue/logical_block_size", "512"),
      ("queue/fua", "1"), ("queue/write_cache", "write back"),
      ("queue/discard_max_bytes", "4294966784"), ("queue/discard_granularity", "512"),
      ("queue/write_zeroes_max_bytes", "4294966784"),
    ] { try show(name, text) }
  }

  private func show(_ name: String, _ text: String) throws {
    try root.write("block/nbd7/\(name)", text + "\n", mode: 0o644)
  }

  private func export(
    size: UInt64 = size, flags: ExportFlags = usual, sizes: BlockSizes? = nil
  ) throws -> Export {
    Export(name: try ExportName("disk"), size: size, flags: flags, blockSizes: sizes)
  }

  /// What is said of `export` as the device's next one, without the hint; nil where it is taken.
  private func refusal(_ export: Export, recorded: Export?) throws -> String? {
    var options = ConnectionOptions()
    options.hostname = "localhost"
    options.allowPlaintext = true
    let request = AttachRequest(try ConnectionRequest(options))
    let plan = try DevicePlan(
      export: export, request: request, readOnly: false, connections: 1, pageSize: 4096,
      warn: { _ in })
    // As the state file brings it back.
    let record = try recorded.map {
      try JSONDecoder().decode(
        RecordedExport.self, from: JSONEncoder().encode(RecordedExport($0)))
    }
    let adoption = Adoption(device: device, recorded: record, sysfs: Sysfs(root: root.path))
    do throws(NBDSecureError) {
      try adoption.check(export, plan: plan)
      return nil
    } catch {
      #expect(error.code == .kernel)
      return error.summary
    }
  }

  private let differs = "/dev/nbd7: the server's export is not the same: "

  @Test func theSameIsAdopted() throws {
    let sizes = try BlockSizes(minimum: 512, preferred: 4096, maximum: 1 << 20)
    for sizes in [nil, sizes] {
      let export = try export(sizes: sizes)
      #expect(try refusal(export, recorded: export) == nil)
      #expect(try refusal(export, recorded: nil) == nil)
    }
  }

  /// The rule of a reconnection: each flag counts, whether it comes or goes.
  @Test(arguments: (0..<12).map { UInt16(1) << $0 })
  func eachRecordedFlagCounts(_ bit: UInt16) throws {
    let changed = Self.usual.symmetricDifference(ExportFlags(rawValue: bit))
    let wanted = changed.contains(.readOnly) ? "it is read-only now" : "its flags changed"
    #expect(try refusal(export(flags: changed), recorded: export()) == differs + wanted)
  }

  @Test func recordedBlockSizesCount() throws {
    let one = try BlockSizes(minimum: 512, preferred: 4096, maximum: 1 << 20)
    let other = try BlockSizes(minimum: 512, preferred: 4096, maximum: 1 << 16)
    let wanted = differs + "its block sizes changed"
    #expect(try refusal(export(sizes: other), recorded: export(sizes: one)) == wanted)
    #expect(try refusal(export(sizes: other), recorded: export()) == wanted)
    #expect(try refusal(export(), recorded: export(sizes: one)) == wanted)
  }

  @Test func sizeCounts() throws {
    let larger = try export(size: 2 * Self.size)
    let wanted = "/dev/nbd7: its size is 1048576 bytes, but the export's is 2097152"
    #expect(try refusal(larger, recorded: larger) == wanted)
    #expect(try refusal(larger, recorded: nil) == wanted)
  }

  /// Without a state file: what the kernel does with the device must still be possible.
  @Test(
    arguments: [
      .sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes, .readOnly,
    ] as [ExportFlags])
  func kernelsWordCounts(_ flag: ExportFlags) throws {
    let changed = Self.usual.symmetricDifference(flag)
    let wanted = flag == .readOnly ? "it is read-only now" : "its flags changed"
    #expect(try refusal(export(flags: changed), recorded: nil) == differs + wanted)
    // A device that does not use it does without.
    try show("ro", "1")
    try show("queue/fua", "0")
    try show("queue/write_cache", "write through")
    // Linux 5 keeps a largest discard.
    try show("queue/discard_granularity", "0")
    try show("queue/write_zeroes_max_bytes", "0")
    #expect(try refusal(export(flags: changed), recorded: nil) == nil)
  }

  @Test func kernelsBlockSizeCounts() throws {
    let sizes = try BlockSizes(minimum: 4096, preferred: 4096, maximum: 1 << 20)
    #expect(
      try refusal(export(sizes: sizes), recorded: nil) == differs + "its block sizes changed")
  }
}
