// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

@Suite struct ServerNegotiationTests {
  static let export = Export(
    name: name("disk"), canonicalName: "remote", description: "a disk", size: 1 << 20,
    flags: [.hasFlags, .sendFlush, .sendDF, .sendResize, .canMultiConn])
  static let blockSizes =
    (try? BlockSizes(minimum: 512, preferred: 4096, maximum: 1 << 20)) ?? .assumed
  /// Bits 0, 2, 8: what is left of the flags above.
  static let flags: UInt16 = 0x105

  /// Plays all of a client's bytes, then ends the stream.
  struct Served {
    var sent: [UInt8] = []
    var outcome: ServerNegotiation.Outcome?
    var error: NegotiationError?
    var unread = 0
    /// The longest read asked for.
    var longestRead = 0

    /// - Parameter refusing: why the first client that wants in is not let in; nil lets all in.
    init(
      _ script: [UInt8], export: Export = export, limits: Limits = .default,
      refusing: String? = nil
    ) {
      var machine = ServerNegotiation(export: export, blockSizes: blockSizes, limits: limits)
      var rest = script[...]
      do throws(NegotiationError) {
        while outcome == nil {
          switch try machine.next() {
          case .send(let bytes): sent += bytes
          case .finished(let outcome): self.outcome = outcome
          case .admission:
            if let reason = refusing { machine.refuse(reason) } else { machine.admit() }
          case .receive(let count):
            longestRead = max(longestRead, count)
            guard rest.count >= count else { throw machine.endOfStream(after: rest.count) }
            let bytes = Array(rest.prefix(count))
            rest = rest.dropFirst(count)
            try machine.received(bytes)
          }
        }
      } catch {
        self.error = error
        if error.kind != .closed {
          var again = machine
          #expect(throws: error) { try again.next() }
        }
      }
      unread = rest.count
    }

    /// What was sent after the greeting.
    var replies: [UInt8] { Array(sent.dropFirst(Wire.newstyle().count)) }
  }

  static func request(_ name: String, _ infos: [UInt16] = []) -> [UInt8] {
    Wire.u32(UInt32(name.utf8.count)) + Wire.text(name) + Wire.u16(UInt16(infos.count))
      + infos.flatMap(Wire.u16)
  }

  @Test func greets() {
    let served = Served([])
    #expect(served.sent == Wire.newstyle(3))
    #expect(served.error?.kind == .closed)
  }

  @Test(arguments: [4, 5, 0x8000_0003] as [UInt32]) func unknownClientFlags(_ flags: UInt32) {
    let served = Served(Wire.u32(flags) + Wire.option(Wire.list))
    #expect(served.error?.kind == .protocolViolation)
    #expect(served.replies.isEmpty)
  }

  @Test func lists() {
    let served = Served(Wire.u32(3) + Wire.option(Wire.list))
    #expect(served.replies == Wire.listed("disk", "a disk") + Wire.reply(Wire.list, Wire.ack))
    #expect(served.error?.kind == .closed)
  }

  @Test func listWithDataIsInvalid() {
    let served = Served(Wire.u32(3) + Wire.option(Wire.list, [1]) + Wire.option(Wire.abort))
    #expect(
      served.replies
        == Wire.reply(Wire.list, Wire.invalid, Wire.text("NBD_OPT_LIST has no data"))
        + Wire.reply(Wire.abort, Wire.ack))
    #expect(served.outcome == .aborted)
  }

  @Test(arguments: ["disk", ""]) func goes(_ asked: String) {
    let served = Served(
      Wire.u32(3) + Wire.option(Wire.go, Self.request(asked, [3, 2, 1, 0, 77, 3])) + [1, 2, 3])
    #expect(
      served.replies
        == Wire.reply(Wire.go, Wire.repInfo, Wire.infoExport(1 << 20, Self.flags))
        + Wire.reply(Wire.go, Wire.repInfo, Wire.infoBlockSize(512, 4096, 1 << 20))
        + Wire.reply(Wire.go, Wire.repInfo, Wire.u16(2) + Wire.text("a disk"))
        + Wire.reply(Wire.go, Wire.repInfo, Wire.u16(1) + Wire.text("disk"))
        + Wire.reply(Wire.go, Wire.ack))
    #expect(served.outcome == .transmission)
    // Requests already under way are the relay's.
    #expect(served.unread == 3)
  }

  @Test func infoThenGo() {
    let served = Served(
      Wire.u32(3) + Wire.option(Wire.info, Self.request("disk"))
        + Wire.option(Wire.go, Self.request("disk")))
    func answer(_ option: UInt32) -> [UInt8] {
      Wire.reply(option, Wire.repInfo, Wire.infoExport(1 << 20, Self.flags))
        + Wire.reply(option, Wire.ack)
    }
    #expect(served.replies == answer(Wire.info) + answer(Wire.go))
    #expect(served.outcome == .transmission)
  }

  @Test func noDescriptionIsLeftOut() {
    let export = Export(name: name("disk"), size: 512, flags: [])
    let served = Served(
      Wire.u32(3) + Wire.option(Wire.list) + Wire.option(Wire.go, Self.request("disk", [2])),
      export: export)
    #expect(
      served.replies
        == Wire.listed("disk") + Wire.reply(Wire.list, Wire.ack)
        + Wire.reply(Wire.go, Wire.repInfo, Wire.infoExport(512, 1))
        + Wire.reply(Wire.go, Wire.ack))
  }

  @Test func wrongNameIsAnErrorAndNoEnd() {
    let served = Served(
      Wire.u32(3) + Wire.option(Wire.go, Self.request("other"))
        + Wire.option(Wire.go, Self.request("disk")))
    #expect(
      served.replies.starts(
        with: Wire.reply(Wire.go, Wire.unknown, Wire.text("no such export"))))
    #expect(served.outcome == .transmission)
  }

  @Test(arguments: [
    [], [0, 0, 0], Wire.u32(0), Wire.u32(0) + [0], Wire.u32(5) + Wire.text("disk") + Wire.u16(0),
    Wire.u32(.max) + Wire.text("disk") + Wire.u16(0), Wire.u32(4) + Wire.text("disk") + Wire.u16(1),
    Wire.u32(4) + Wire.text("disk") + Wire.u16(0) + [0, 0],
    Wire.u32(4) + Wire.text("disk") + Wire.u16(.max) + [0, 0],
    Wire.u32(4) + Wire.text("disk") + Wire.u16(1) + [0, 0, 0],
  ])
  func lengthsThatContradictEachOther(_ data: [UInt8]) {
    let served = Served(Wire.u32(3) + Wire.option(Wire.go, data) + Wire.option(Wire.abort))
    #expect(
      served.replies
        == Wire.reply(Wire.go, Wire.invalid, Wire.text("lengths contradict each other"))
        + Wire.reply(Wire.abort, Wire.ack))
  }

  @Test(arguments: ["disk", ""], [true, false])
  func exportName(_ asked: String, _ noZeroes: Bool) {
    let served = Served(
      Wire.u32(noZeroes ? 3 : 1) + Wire.option(Wire.exportName, Wire.text(asked)))
    #expect(served.replies == Wire.exportAnswer(1 << 20, Self.flags, zeroes: !noZeroes))
    #expect(served.outcome == .transmission)
  }

  @Test func exportNameWrong() {
    let served = Served(Wire.u32(3) + Wire.option(Wire.exportName, Wire.text("other")))
    #expect(served.replies.isEmpty)
    #expect(served.error?.kind == .exportUnknown)
  }

  @Test func refusedClientHearsWhyAndMayGoOn() {
    let served = Served(
      Wire.u32(3) + Wire.option(Wire.info, Self.request("disk"))
        + Wire.option(Wire.go, Self.request("disk")) + Wire.option(Wire.abort),
      refusing: "no seat")
    #expect(
      served.replies
        == Wire.reply(Wire.info, Wire.repInfo, Wire.infoExport(1 << 20, Self.flags))
        + Wire.reply(Wire.info, Wire.ack)
        + Wire.reply(Wire.go, 0x8000_0002, Wire.text("no seat")) + Wire.reply(Wire.abort, Wire.ack))
    #expect(served.outcome == .aborted)
  }

  @Test func refusedExportNameEnds() {
    let served = Served(
      Wire.u32(3) + Wire.option(Wire.exportName, Wire.text("disk")), refusing: "no seat")
    #expect(served.replies.isEmpty)
    #expect(served.error?.kind == .exportRefused)
    #expect(served.error?.message.contains("no seat") == true)
  }

  @Test(arguments: [4, 5, 8, 9, 10, 11, 0, 12, .max] as [UInt32])
  func unsupported(_ option: UInt32) {
    let served = Served(
      Wire.u32(3) + Wire.option(option, [1, 2, 3]) + Wire.option(Wire.abort, [1]))
    #expect(
      served.replies
        == Wire.reply(option, Wire.unsup, Wire.text("not supported"))
        + Wire.reply(Wire.abort, Wire.ack))
    #expect(served.outcome == .aborted)
  }

  @Test func optionMagicWrong() {
    let served = Served(Wire.u32(3) + Wire.text("IHAVEOPS") + [0, 0, 0, 3, 0, 0, 0, 0])
    #expect(served.error?.kind == .protocolViolation)
    #expect(served.error?.message.contains("IHAVEOPS") == true)
  }

  @Test func longDataIsNeverRead() {
    for length: UInt32 in [16_385, 0x7fff_ffff, .max] {
      let served = Served(
        Wire.u32(3) + Wire.text("IHAVEOPT") + Wire.u32(Wire.go) + Wire.u32(length))
      #expect(served.error?.kind == .limitExceeded)
      #expect(served.longestRead == 16)
    }
    #expect(
      Served(Wire.u32(3) + Wire.option(99, [UInt8](repeating: 0, count: 16_384))).error?.kind
        == .closed)
  }

  @Test func optionsAreBounded() {
    let options = Array(repeating: Wire.option(Wire.list), count: 257).flatMap { $0 }
    #expect(Served(Wire.u32(3) + options).error?.kind == .limitExceeded)
    #expect(Served(Wire.u32(3) + options.dropLast(16)).error?.kind == .closed)
  }

  @Test func closedAnywhere() {
    let script = Wire.u32(3) + Wire.option(Wire.go, Self.request("disk", [3]))
    for length in 0..<script.count {
      #expect(Served(Array(script.prefix(length))).error?.kind == .closed)
    }
  }

  @Test func bytesWhenNoneAreDue() {
    var machine = ServerNegotiation(export: Self.export, blockSizes: Self.blockSizes)
    #expect(throws: NegotiationError.self) { try machine.received([1]) }
  }

  /// Our own client against our own server, in every way in.
  @Test(arguments: [
    Goal.list, .info(name("disk")), .attach(name("disk")), .attach(name("")),
    .attach(name("none")),
  ])
  func clientMeetsServer(_ goal: Goal) throws {
    var client = Negotiation(goal: goal, security: .plaintext)
    var server = ServerNegotiation(export: Self.export, blockSizes: Self.blockSizes)
    var toClient: [UInt8] = []
    var toServer: [UInt8] = []
    var verdict: Verdict?
    do {
      for _ in 0..<100 where verdict == nil {
        switch try server.next() {
        case .send(let bytes): toClient += bytes
        case .receive(let count) where toServer.count >= count:
          try server.received(Array(toServer.prefix(count)))
          toServer.removeFirst(count)
        case .admission: server.admit()
        default: break
        }
        switch try client.next() {
        case .send(let bytes): toServer += bytes
        case .receive(let count) where toClient.count >= count:
          let bytes = Array(toClient.prefix(count))
          toClient.removeFirst(count)
          try client.received(bytes)
        case .finished(let end): verdict = end
        default: break
        }
      }
    } catch let error as NegotiationError {
      #expect(goal == .attach(name("none")))
      #expect(error.kind == .exportUnknown)
      #expect(error.serverText == "no such export")
      return
    }
    func export(_ asked: String) -> Export {
      Export(
        name: name(asked), canonicalName: "disk", description: "a disk", size: 1 << 20,
        flags: [.hasFlags, .sendFlush, .canMultiConn], blockSizes: Self.blockSizes)
    }
    switch goal {
    case .list:
      #expect(verdict == .listing([ExportListing(name: "disk", description: "a disk")]))
    case .info: #expect(verdict == .info(export("disk")))
    case .attach(let asked): #expect(verdict == .ready(export(asked.string)))
    }
    #expect(toClient.isEmpty && toServer.isEmpty)
  }
}
