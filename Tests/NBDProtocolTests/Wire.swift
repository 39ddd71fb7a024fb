// SPDX-License-Identifier: Apache-2.0

import NBDProtocol

/// Bytes of the protocol written down here a second time, so that a wrong constant in the sources
/// is not its own witness.
enum Wire {
  static func u16(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }
  static func u32(_ value: UInt32) -> [UInt8] {
    u16(UInt16(value >> 16)) + u16(UInt16(value & 0xffff))
  }
  static func u64(_ value: UInt64) -> [UInt8] {
    u32(UInt32(value >> 32)) + u32(UInt32(value & 0xffff_ffff))
  }
  static func text(_ text: String) -> [UInt8] { Array(text.utf8) }

  static let exportName: UInt32 = 1
  static let abort: UInt32 = 2
  static let list: UInt32 = 3
  static let startTLS: UInt32 = 5
  static let info: UInt32 = 6
  static let go: UInt32 = 7

  static let ack: UInt32 = 1
  static let server: UInt32 = 2
  static let repInfo: UInt32 = 3
  static func error(_ number: UInt32) -> UInt32 { 0x8000_0000 + number }
  static let unsup = error(1)
  static let policy = error(2)
  static let invalid = error(3)
  static let platform = error(4)
  static let tlsReqd = error(5)
  static let unknown = error(6)
  static let shutdown = error(7)
  static let blockSizeReqd = error(8)

  /// Newstyle greeting; flags: 1 fixed, 2 no zeroes.
  static func newstyle(_ flags: UInt16 = 3) -> [UInt8] {
    text("NBDMAGIC") + text("IHAVEOPT") + u16(flags)
  }

  static func oldstyle(size: UInt64 = 1 << 20, flags: UInt32 = 1) -> [UInt8] {
    text("NBDMAGIC") + u64(0x0000_4202_8186_1253) + u64(size) + u32(flags)
      + [UInt8](repeating: 0, count: 124)
  }

  static func reply(_ option: UInt32, _ type: UInt32, _ data: [UInt8] = []) -> [UInt8] {
    u64(0x0003_e889_0455_65a9) + u32(option) + u32(type) + u32(UInt32(data.count)) + data
  }

  /// A reply's header alone, with any length.
  static func header(_ option: UInt32, _ type: UInt32, length: UInt32) -> [UInt8] {
    u64(0x0003_e889_0455_65a9) + u32(option) + u32(type) + u32(length)
  }

  static func listed(_ name: String, _ description: String = "") -> [UInt8] {
    reply(list, server, u32(UInt32(name.utf8.count)) + text(name) + text(description))
  }

  static func infoExport(_ size: UInt64 = 1 << 20, _ flags: UInt16 = 1) -> [UInt8] {
    u16(0) + u64(size) + u16(flags)
  }

  static func infoBlockSize(_ minimum: UInt32, _ preferred: UInt32, _ maximum: UInt32) -> [UInt8] {
    u16(3) + u32(minimum) + u32(preferred) + u32(maximum)
  }

  /// The answer to NBD_OPT_EXPORT_NAME.
  static func exportAnswer(
    _ size: UInt64 = 1 << 20, _ flags: UInt16 = 1, zeroes: Bool = false
  ) -> [UInt8] {
    u64(size) + u16(flags) + [UInt8](repeating: 0, count: zeroes ? 124 : 0)
  }

  /// An option as a client sends it.
  static func option(_ option: UInt32, _ data: [UInt8] = []) -> [UInt8] {
    text("IHAVEOPT") + u32(option) + u32(UInt32(data.count)) + data
  }

  /// The data of NBD_OPT_INFO and NBD_OPT_GO as this client sends it.
  static func infoRequest(_ name: String) -> [UInt8] {
    u32(UInt32(name.utf8.count)) + text(name) + u16(4) + u16(0) + u16(1) + u16(2) + u16(3)
  }

  static let disc: [UInt8] =
    [0x25, 0x60, 0x95, 0x13, 0, 0, 0, 2] + [UInt8](repeating: 0, count: 20)
}
