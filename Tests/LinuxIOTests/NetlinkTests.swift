// SPDX-License-Identifier: Apache-2.0
import SystemPackage
import Testing

@testable import NBDKernel

/// A repeatable source of random numbers.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

@Suite struct NetlinkTests {
  let parameters = DeviceParameters(
    size: 1 << 40, blockSize: 4096, flags: 0x10d, timeoutSeconds: 120,
    deadConnTimeoutSeconds: 300, backendIdentifier: "abc")

  private func attributes(_ request: [UInt8]) throws -> [UInt16: NetlinkAttribute] {
    let messages = try NetlinkMessage.parse(request)
    #expect(messages.count == 1)
    let all = try NetlinkAttribute.parse(messages[0].payload.dropFirst(4))
    return Dictionary(uniqueKeysWithValues: all.map { ($0.type, $0) })
  }

  private func uint64(_ attribute: NetlinkAttribute?) -> UInt64? {
    guard let bytes = attribute?.payload, bytes.count == 8 else { return nil }
    let big = bytes.reduce(0) { $0 << 8 | UInt64($1) }
    return UInt64(bigEndian: big)
  }

  private func sockets(_ attribute: NetlinkAttribute?) throws -> [UInt32?] {
    try (attribute?.nested() ?? []).map { item in
      #expect(item.type == 1)
      return try item.nested().first { $0.type == 1 }?.uint32
    }
  }

  @Test func connectCarriesEverything() throws {
    let request = NBDMessage.connect(
      family: 30, sequence: 7, index: nil, parameters: parameters, sockets: [5, 9])
    let message = try NetlinkMessage.parse(request)[0]
    #expect(message.type == 30)
    #expect(message.sequence == 7)
    #expect(message.flags == 5)
    #expect(message.payload.prefix(4) == [1, 1, 0, 0])
    let found = try attributes(request)
    #expect(found[1] == nil)
    #expect(uint64(found[2]) == 1 << 40)
    #expect(uint64(found[3]) == 4096)
    #expect(uint64(found[4]) == 120)
    #expect(uint64(found[5]) == 0x10d)
    #expect(uint64(found[6]) == 0)
    #expect(try sockets(found[7]) == [5, 9])
    #expect(uint64(found[8]) == 300)
    #expect(found[10]?.string == "abc")
    #expect(found[10]?.payload == [0x61, 0x62, 0x63, 0])
    let named = try attributes(
      NBDMessage.connect(
        family: 30, sequence: 7, index: DeviceIndex(3), parameters: parameters, sockets: [5]))
    #expect(named[1]?.uint32 == 3)
  }

  @Test func timeoutsAreSetAlsoWhenZero() throws {
    var none = parameters
    none.timeoutSeconds = 0
    none.deadConnTimeoutSeconds = 0
    none.backendIdentifier = ""
    let found = try attributes(
      NBDMessage.connect(family: 30, sequence: 1, index: nil, parameters: none, sockets: [5]))
    #expect(uint64(found[4]) == 0)
    #expect(uint64(found[8]) == 0)
    #expect(found[10] == nil)
  }

  @Test func reconfigureNeverResizes() throws {
    let found = try attributes(
      NBDMessage.reconfigure(
        family: 30, sequence: 1, index: DeviceIndex(2), parameters: parameters, sockets: [8]))
    #expect(found[1]?.uint32 == 2)
    #expect(found[2] == nil)
    #expect(found[3] == nil)
    #expect(try sockets(found[7]) == [8])
    #expect(found[10]?.string == "abc")
  }

  @Test func manySocketsFit() throws {
    let found = try attributes(
      NBDMessage.connect(
        family: 30, sequence: 1, index: nil, parameters: parameters,
        sockets: (0..<256).map { Int32($0) }))
    #expect(try sockets(found[7]).count == 256)
  }

  @Test func familyAnswerIsRead() throws {
    var builder = NetlinkBuilder(family: 16, command: 1, version: 2, sequence: 1)
    builder.put(2, "nbd")
    builder.append([6, 0, 1, 0] + NativeBytes.bytes(UInt16(0x1d)) + [0, 0])
    builder.nest(7) { groups in
      groups.nest(1) { group in
        group.put(2, UInt32(12))
        group.put(1, "nbd_mc_group")
      }
    }
    let family = try GenericNetlinkFamily(NetlinkMessage.parse(builder.finished))
    #expect(family.identifier == 0x1d)
    #expect(family.groups == ["nbd_mc_group": 12])
    #expect(throws: NetlinkFormatError.self) { try GenericNetlinkFamily([]) }
    let query = try attributes(GenericNetlinkFamily.query(name: "nbd", sequence: 1))
    #expect(query[2]?.string == "nbd")
  }

  @Test func answersAreRead() throws {
    var connected = NetlinkBuilder(family: 30, command: 1, version: 1, sequence: 1)
    connected.put(1, UInt32(17))
    let answer = try NetlinkMessage.parse(connected.finished)
    #expect(try NBDMessage.connected(answer, family: 30) == DeviceIndex(17))
    #expect(throws: NetlinkFormatError.self) { try NBDMessage.connected(answer, family: 31) }
    #expect(throws: NetlinkFormatError.self) { try NBDMessage.connected([], family: 30) }
    var status = NetlinkBuilder(family: 30, command: 5, version: 1, sequence: 1)
    status.nest(9) { list in
      for (index, up) in [(UInt32(0), UInt8(1)), (4, 0)] {
        list.nest(1) { item in
          item.put(1, index)
          item.append(NativeBytes.bytes(UInt16(5)) + [2, 0, up, 0, 0, 0])
        }
      }
    }
    let statuses = try NBDMessage.statuses(NetlinkMessage.parse(status.finished), family: 30)
    #expect(statuses == [DeviceIndex(0): true, DeviceIndex(4): false])
    var dead = NetlinkBuilder(family: 30, command: 4, version: 1, sequence: 0)
    dead.put(1, UInt32(2))
    let both = try NetlinkMessage.parse(dead.finished + dead.finished)
    #expect(try NBDMessage.deadLinks(both, family: 30) == [DeviceIndex(2), DeviceIndex(2)])
    #expect(try NBDMessage.deadLinks(answer, family: 30) == [])
  }

  private func verdict(_ payload: [UInt8], flags: UInt16) throws -> NetlinkVerdict {
    try NetlinkVerdict(
      NetlinkMessage(type: 2, flags: flags, sequence: 1, port: 0, payload: payload))
  }

  @Test func verdictsCarryTheKernelsWords() throws {
    let header = NativeBytes.bytes(UInt32(16)) + [UInt8](repeating: 0, count: 12)
    let success = try verdict([0, 0, 0, 0] + header, flags: 0x100)
    #expect(success.code == 0)
    #expect(success.text == nil)
    let text = NativeBytes.bytes(UInt16(8)) + [1, 0] + Array("bad\0".utf8)
    let busy = NativeBytes.bytes(Int32(-16))
    #expect(try verdict(busy + header + text, flags: 0x300).text == "bad")
    #expect(try verdict(busy + header + text, flags: 0x300).code == 16)
    // Uncapped, the whole request comes back before the text.
    let request = NativeBytes.bytes(UInt32(21)) + [UInt8](repeating: 9, count: 20)
    #expect(try verdict(busy + request + text, flags: 0x200).text == "bad")
    #expect(try verdict(busy + header + [9, 9], flags: 0x300).text == nil)
    #expect(try verdict(busy + header + [0xff, 0xff, 1, 0], flags: 0x300).text == nil)
    #expect(try verdict(NativeBytes.bytes(Int32.min), flags: 0).code == .max)
    #expect(throws: NetlinkFormatError.self) { try verdict([0, 0, 0], flags: 0) }
  }

  @Test(arguments: [
    [15, 0, 0, 0], [0, 0, 0, 0], [17, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0x80],
  ])
  func wrongLengthsAreRefused(length: [UInt8]) {
    let datagram = length + [UInt8](repeating: 0, count: 12)
    #expect(throws: NetlinkFormatError.self) { try NetlinkMessage.parse(datagram) }
    #expect(throws: NetlinkFormatError.self) {
      try NetlinkAttribute.parse([UInt8(5), 0, 1, 0][...])
    }
    #expect(throws: NetlinkFormatError.self) {
      try NetlinkAttribute.parse([UInt8(3), 0, 1, 0][...])
    }
  }

  @Test func anyBytesAreReadOrRefused() throws {
    var random = SplitMix(state: 1)
    let good = NBDMessage.connect(
      family: 30, sequence: 7, index: nil, parameters: parameters, sockets: [5, 9])
    for _ in 0..<20_000 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        switch Int.random(in: 0..<3, using: &random) {
        case 0:
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
            in: .min ... .max, using: &random)
        case 1 where bytes.count > 8: bytes.removeLast(Int.random(in: 1...4, using: &random))
        default: bytes += (0..<5).map { _ in .random(in: .min ... .max, using: &random) }
        }
      }
      guard let messages = try? NetlinkMessage.parse(bytes) else { continue }
      for message in messages {
        _ = try? NetlinkVerdict(message)
        _ = TCPConnection.parse(message)
        for attribute in (try? NetlinkAttribute.parse(message.payload.dropFirst(4))) ?? [] {
          _ = (attribute.uint8, attribute.uint16, attribute.uint32, attribute.string)
          _ = try? attribute.nested()
        }
      }
      _ = try? NBDMessage.connected(messages, family: 30)
      _ = try? NBDMessage.statuses(messages, family: 30)
      _ = try? NBDMessage.deadLinks(messages, family: 30)
      _ = try? GenericNetlinkFamily(messages)
    }
  }

  @Test func refusalsAreExplained() {
    let device = DeviceIndex(3)
    #expect(NBDNetlink.translate(.refused(.resourceBusy, text: nil), device).kind == .busy)
    #expect(NBDNetlink.translate(.refused(.notPermitted, text: nil), nil).kind == .notPermitted)
    let other = NBDNetlink.translate(.refused(.invalidArgument, text: "no sockets"), device)
    #expect(other.kind == .refused)
    #expect(other.message.hasSuffix("(no sockets)"))
    #expect(NBDNetlink.translate(.system(.timedOut), nil).kind == .timedOut)
  }
}
