// SPDX-License-Identifier: Apache-2.0
import Foundation
import NBDProtocol
import Testing

@testable import NBDSecure

extension RelayRig {
  /// No two places of it have much in common, so that bytes that went astray show.
  private static let noise: [UInt8] = {
    var random = SplitMix(seed: 0x6e6f_6973)
    return (0..<(1 << 20)).map { _ in UInt8.random(in: 0...255, using: &random) }
  }()
  private static let slot = 16 * 512

  /// So many bytes of it.
  static func noise(_ count: Int) -> [UInt8] {
    var bytes = noise
    while bytes.count < count { bytes += noise }
    return Array(bytes[..<count])
  }

  private struct Expectation {
    let command: Command
    /// Where it is alone; nil for a flush.
    let place: Int?
    let data: [UInt8]
  }

  /// Sends so many random requests, and checks every reply and every byte against `model`. `depth`
  /// of them are in flight until the last was sent; none overlaps another.
  ///
  /// - Parameter whenFull: called each time that `depth` are in flight, with how many were answered.
  func mixedLoad(
    requests: Int, depth: Int, random: inout SplitMix, whenFull: (Int) throws -> Void = { _ in }
  ) throws {
    var free = Array(0..<(model.count / Self.slot))
    var pending: [UInt64: Expectation] = [:]
    var sent = 0
    for answered in 0..<requests {
      while sent < requests, pending.count < depth {
        let (cookie, expectation) = try sendRandom(from: &free, random: &random)
        pending[cookie] = expectation
        sent += 1
      }
      if pending.count == depth { try whenFull(answered) }
      let reply = try client.reply()
      guard let expected = pending.removeValue(forKey: reply.cookie) else {
        throw ModelError.wrongCookie
      }
      #expect(reply.error == nil)
      if expected.command == .read {
        #expect(try client.data(expected.data.count) == expected.data)
      }
      if let place = expected.place { free.append(place) }
    }
  }

  private func sendRandom(
    from free: inout [Int], random: inout SplitMix
  ) throws -> (UInt64, Expectation) {
    let kind = Int.random(in: 0..<10, using: &random)
    guard kind < 9, !free.isEmpty else {
      return (try client.send(.flush), Expectation(command: .flush, place: nil, data: []))
    }
    free.swapAt(Int.random(in: 0..<free.count, using: &random), free.count - 1)
    let place = free.removeLast()
    let length = Int.random(in: 1...Self.slot, using: &random)
    let offset =
      place * Self.slot + Int.random(in: 0...(Self.slot - length), using: &random)
    let range = offset..<(offset + length)
    switch kind {
    case 0..<4:
      let cookie = try client.send(.read, offset: offset, length: length)
      return (cookie, Expectation(command: .read, place: place, data: Array(model[range])))
    case 4..<8:
      let start = Int.random(in: 0...(Self.noise.count - length), using: &random)
      let payload = Array(Self.noise[start..<(start + length)])
      let flags: CommandFlags = Bool.random(using: &random) ? [.fua] : []
      let cookie = try client.write(offset, payload, flags: flags)
      model.replaceSubrange(range, with: payload)
      return (cookie, Expectation(command: .write, place: place, data: []))
    default:
      let command: Command = Bool.random(using: &random) ? .trim : .writeZeroes
      let cookie = try client.send(command, offset: offset, length: length)
      model.replaceSubrange(range, with: repeatElement(0, count: length))
      return (cookie, Expectation(command: command, place: place, data: []))
    }
  }
}
