// SPDX-License-Identifier: Apache-2.0
import Foundation
import NBDProtocol
import Testing

@testable import NBDSecure

extension RelayRig {
  private struct Expectation {
    let command: Command
    let data: [UInt8]
  }

  /// Sends rounds of requests that do not overlap within a round, and checks every reply and
  /// every byte against `model`.
  func mixedLoad(
    rounds: Int, depth: Int, random: inout SplitMix, between: (Int) throws -> Void = { _ in }
  ) throws {
    let sector = 512
    let slots = model.count / (16 * sector)
    for round in 0..<rounds {
      var pending: [UInt64: Expectation] = [:]
      for place in (0..<slots).shuffled(using: &random).prefix(depth) {
        let offset = place * 16 * sector
        let length = Int.random(in: 1...(16 * sector), using: &random)
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<4:
          let cookie = try client.send(.read, offset: offset, length: length)
          pending[cookie] = Expectation(
            command: .read, data: Array(model[offset..<(offset + length)]))
        case 4..<8:
          let byte = UInt8.random(in: 0...255, using: &random)
          let payload = [UInt8](repeating: byte, count: length)
          let flags: CommandFlags = Bool.random(using: &random) ? [.fua] : []
          let cookie = try client.write(offset, payload, flags: flags)
          model.replaceSubrange(offset..<(offset + length), with: payload)
          pending[cookie] = Expectation(command: .write, data: [])
        case 8:
          let command: Command = Bool.random(using: &random) ? .trim : .writeZeroes
          let cookie = try client.send(command, offset: offset, length: length)
          model.replaceSubrange(
            offset..<(offset + length), with: repeatElement(0, count: length))
          pending[cookie] = Expectation(command: command, data: [])
        default:
          let cookie = try client.send(.flush)
          pending[cookie] = Expectation(command: .flush, data: [])
        }
      }
      try between(round)
      while !pending.isEmpty {
        let reply = try client.reply()
        guard let expected = pending.removeValue(forKey: reply.cookie) else {
          throw ModelError.wrongCookie
        }
        #expect(reply.error == nil)
        if expected.command == .read {
          #expect(try client.data(expected.data.count) == expected.data)
        }
      }
    }
  }
}
