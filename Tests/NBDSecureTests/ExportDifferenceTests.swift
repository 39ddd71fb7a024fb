// SPDX-License-Identifier: Apache-2.0
import NBDProtocol
import Testing

@testable import NBDSecure

/// With which exports a device goes on after a reconnection.
@Suite struct ExportDifferenceTests {
  private static let usual: ExportFlags = [
    .hasFlags, .sendFlush, .sendFUA, .sendTrim, .sendWriteZeroes, .canMultiConn,
  ]

  private func export(
    size: UInt64 = 1 << 20, flags: ExportFlags = usual, sizes: BlockSizes? = nil,
    description: String? = nil
  ) throws -> Export {
    Export(
      name: try ExportName("disk"), description: description, size: size, flags: flags,
      blockSizes: sizes)
  }

  @Test func theSameIsTheSame() throws {
    #expect(try export().difference(to: export()) == nil)
    #expect(try export().isSame(as: export(description: "a new text")))
  }

  @Test(arguments: [0, 512, 1_048_064, 1_048_577, 1 << 40] as [UInt64])
  func anotherSize(_ size: UInt64) throws {
    #expect(
      try export().difference(to: export(size: size))
        == "its size is \(size) instead of 1048576 bytes")
  }

  /// Each flag counts, whether it comes or goes.
  @Test(arguments: (0..<12).map { UInt16(1) << $0 })
  func anotherFlag(_ bit: UInt16) throws {
    let flag = ExportFlags(rawValue: bit)
    let changed = Self.usual.symmetricDifference(flag)
    let wanted = flag == .readOnly ? "it is read-only now" : "its flags changed"
    #expect(try export().difference(to: export(flags: changed)) == wanted)
    #expect(try export(flags: changed).difference(to: export()) == "its flags changed")
  }

  @Test func otherBlockSizes() throws {
    let sizes: [BlockSizes?] = try [
      nil, BlockSizes(minimum: 512, preferred: 4096, maximum: 1 << 20),
      BlockSizes(minimum: 4096, preferred: 4096, maximum: 1 << 20),
      BlockSizes(minimum: 512, preferred: 8192, maximum: 1 << 20),
      BlockSizes(minimum: 512, preferred: 4096, maximum: 1 << 16),
    ]
    for (number, one) in sizes.enumerated() {
      for (otherNumber, other) in sizes.enumerated() {
        let difference = try export(sizes: one).difference(to: export(sizes: other))
        #expect(difference == (number == otherNumber ? nil : "its block sizes changed"))
      }
    }
  }
}
