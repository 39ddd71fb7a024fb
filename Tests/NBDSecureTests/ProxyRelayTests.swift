// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol
import Testing

@testable import NBDSecure

/// What the proxy asks of a relay beyond what an attachment does.
@Suite struct ProxyRelayTests {
  @Test func oneClientAfterAnotherHasTheConnection() throws {
    let rig = try RelayRig(keepsConnection: true)
    rig.lane.run()
    let pattern = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 11) }
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: pattern).0 == nil)
    // A farewell behind requests that are not answered yet: they are answered.
    rig.server.delay = 0.1
    for _ in 0..<4 { try rig.client.send(.read, offset: 0, length: 4096) }
    try rig.client.send(.disc)
    for _ in 0..<4 {
      #expect(try rig.client.reply().error == nil)
      #expect(try rig.client.data(4096) == pattern)
    }
    guard case .disconnected = rig.outcome() else {
      Issue.record("the relay did not notice the farewell")
      return
    }
    #expect(rig.relay.isQuiet)
    rig.relay.dropPlain()
    // Without a client the connection is still looked after.
    rig.lane.run()
    rig.lane.park()
    let next = ModelClient(Descriptor(owning: try rig.relay.makePlainSide()))
    rig.lane.run()
    #expect(try next.call(.read, offset: 0, length: 4096).1 == pattern)
    #expect(!rig.server.commands.contains(.disc))
  }

  @Test func clientThatLeavesInTheMiddleLeavesNoQuietConnection() throws {
    let rig = try RelayRig(keepsConnection: true)
    rig.lane.run()
    let request = Request(.write, cookie: 1, offset: 0, length: 1 << 16)
    try sendAll(
      request.encoded + [UInt8](repeating: 1, count: 100), to: rig.client.socket.raw,
      until: .after(seconds: 60))
    shutdownSocket(rig.client.socket.raw)
    guard case .plainClosed = rig.outcome() else {
      Issue.record("the relay did not notice the end of the client")
      return
    }
    #expect(!rig.relay.isQuiet)
  }

  @Test func losingTheServerIsNoticedWithoutAClient() throws {
    let rig = try RelayRig(keepsConnection: true)
    rig.relay.dropPlain()
    rig.lane.run()
    rig.server.crash()
    guard case .lost = rig.outcome() else {
      Issue.record("the relay did not notice the crash")
      return
    }
  }

  @Test func flushesOnRequest() throws {
    let rig = try RelayRig()
    let answered = DispatchSemaphore(value: 0)
    rig.relay.flushAnswered = { answered.signal() }
    rig.lane.run()
    let bytes = [UInt8](repeating: 4, count: 4096)
    #expect(try rig.client.call(.write, offset: 0, length: 4096, payload: bytes).0 == nil)
    let instant = rig.clock.tick()
    rig.relay.requestFlush()
    #expect(answered.wait(timeout: .now() + 60) == .success)
    #expect(rig.clock.flushedThrough >= instant)
    #expect(Array(rig.server.stableContents[0..<4096]) == bytes)
    #expect(try rig.client.call(.read, offset: 0, length: 512).0 == nil)
  }

  /// A FLUSH of the relay's own goes whole or not at all into a channel that is almost full.
  @Test func ownFlushIsNeverCutInTwo() throws {
    let rig = try RelayRig(flushWindow: 1)
    let payload = [UInt8](repeating: 6, count: 4096)
    rig.relay.channel = NarrowChannel(
      PlainChannel(try rig.server.connect()), capacity: Request.size + payload.count + 6)
    rig.lane.run()
    for number in 0..<50 {
      let (error, _) = try rig.client.call(
        .write, offset: number * 4096, length: 4096, payload: payload)
      #expect(error == nil)
    }
    #expect(rig.server.commands.contains(.flush))
  }

  @Test func silentClientIsLetGo() throws {
    let export = Export(name: try ExportName("disk"), size: 512, flags: [.hasFlags])
    func guest(_ socket: consuming Descriptor, patience: Double) -> Guest {
      Guest(
        socket, number: 1, negotiation: ServerNegotiation(export: export, blockSizes: .assumed),
        patience: patience, trace: { _ in })
    }
    let one = try SocketPair()
    let patient = guest(one.first, patience: 600)
    patient.advance(found: .read)
    patient.advance(found: [])
    #expect(!patient.isOver)
    #expect(patient.deadline != .never)
    let other = try SocketPair()
    let impatient = guest(other.first, patience: 0)
    #expect(!impatient.isOver)
    impatient.advance(found: [])
    #expect(impatient.isOver)
  }
}

/// A channel with room for so many bytes between two flushes.
private final class NarrowChannel: Channel {
  private let inner: PlainChannel
  private let capacity: Int

  init(_ inner: PlainChannel, capacity: Int) {
    self.inner = inner
    self.capacity = capacity
  }

  func receive(into buffer: UnsafeMutableRawBufferPointer) throws(LinkLost) -> Int {
    try inner.receive(into: buffer)
  }
  var hasBufferedInput: Bool { inner.hasBufferedInput }
  func send(_ bytes: UnsafeRawBufferPointer) throws(LinkLost) -> Int {
    let count = min(bytes.count, capacity - inner.pendingOutput)
    return try inner.send(UnsafeRawBufferPointer(rebasing: bytes.prefix(count)))
  }
  func flush() throws(LinkLost) -> Bool { try inner.flush() }
  var pendingOutput: Int { inner.pendingOutput }
  var isWornOut: Bool { inner.isWornOut }
  var rawDescriptor: Int32 { inner.rawDescriptor }
  func close(by deadline: Deadline) { inner.close(by: deadline) }
  func cut() { inner.cut() }
}
