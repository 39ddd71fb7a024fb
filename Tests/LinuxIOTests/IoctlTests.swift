// SPDX-License-Identifier: Apache-2.0
import Synchronization
import SystemPackage
import Testing

@testable import NBDKernel

/// A driver that remembers what it was asked and fails as told.
private final class FakeDriver: NBDControl {
  private let log = Mutex<[NBDControlRequest]>([])
  private let failing: @Sendable (NBDControlRequest) -> Errno?

  init(_ failing: @escaping @Sendable (NBDControlRequest) -> Errno? = { _ in nil }) {
    self.failing = failing
  }

  var asked: [NBDControlRequest] { log.withLock { $0 } }

  func perform(_ request: NBDControlRequest) -> Errno? {
    log.withLock { $0.append(request) }
    return failing(request)
  }
}

@Suite struct IoctlTests {
  let parameters = DeviceParameters(
    size: 1 << 20, blockSize: 4096, flags: 0x3, timeoutSeconds: 30, deadConnTimeoutSeconds: 0,
    backendIdentifier: "")

  private func configure(_ driver: FakeDriver, _ given: DeviceParameters? = nil) throws {
    try IoctlBinding(control: driver, name: "nbd0").configure(
      given ?? parameters, sockets: [7, 8], maximumBlockSize: 4096)
  }

  @Test func tellsTheDriverEverything() throws {
    let driver = FakeDriver()
    try configure(driver)
    #expect(
      driver.asked == [
        .setSocket(7), .setSocket(8), .setBlockSize(4096), .setSizeInBlocks(256), .setFlags(3),
        .setTimeout(seconds: 30),
      ])
  }

  @Test(arguments: [(UInt16(3), true), (1, false)])
  func unknownFlagsLeaveReadOnly(flags: UInt16, readOnly: Bool) throws {
    let driver = FakeDriver {
      if case .setFlags = $0 { .inappropriateIOCTLForDevice } else { nil }
    }
    var given = parameters
    given.flags = flags
    try configure(driver, given)
    #expect(driver.asked.contains(.setReadOnly(readOnly)))
    #expect(driver.asked.last == .setTimeout(seconds: 30))
  }

  @Test func neitherFlagsNorReadOnlyIsAnError() {
    let driver = FakeDriver {
      switch $0 {
      case .setFlags, .setReadOnly: .inappropriateIOCTLForDevice
      default: nil
      }
    }
    #expect(throws: KernelError.self) { try configure(driver) }
    #expect(driver.asked.suffix(2) == [.clearQueue, .clearSocket])
  }

  @Test func takenDeviceIsLeftAlone() {
    let driver = FakeDriver { if case .setSocket = $0 { .resourceBusy } else { nil } }
    #expect { try configure(driver) } throws: { ($0 as? KernelError)?.kind == .busy }
    #expect(driver.asked == [.setSocket(7)])
  }

  @Test func secondSocketRefusedClearsTheFirst() {
    let driver = FakeDriver { $0 == .setSocket(8) ? .invalidArgument : nil }
    #expect { try configure(driver) } throws: { ($0 as? KernelError)?.kind == .refused }
    #expect(driver.asked == [.setSocket(7), .setSocket(8), .clearQueue, .clearSocket])
  }

  @Test(arguments: [nil, Errno.brokenPipe])
  func endOfAConnectionIsNoError(ended: Errno?) throws {
    let driver = FakeDriver { $0 == .doIt ? ended : nil }
    try IoctlBinding(control: driver, name: "nbd0").run()
    #expect(driver.asked == [.doIt, .clearQueue, .clearSocket])
  }

  @Test func otherEndsAreErrorsAndClearedUp() {
    let driver = FakeDriver { $0 == .doIt ? .timedOut : nil }
    #expect { try IoctlBinding(control: driver, name: "nbd0").run() } throws: {
      ($0 as? KernelError)?.errno == .timedOut
    }
    #expect(driver.asked == [.doIt, .clearQueue, .clearSocket])
  }

  @Test func disconnectAsks() throws {
    let driver = FakeDriver()
    try IoctlBinding(control: driver, name: "nbd0").disconnect()
    #expect(driver.asked == [.disconnect])
  }

  @Test(arguments: [
    (UInt64(1) << 63, UInt32(512)), (.max, 512), (0, 512), (1000, 512), (1 << 20, 256),
    (1 << 20, 1000), (1 << 20, 8192), (1 << 20, 0),
  ])
  func whatTheKernelCannotHaveIsRefused(size: UInt64, blockSize: UInt32) {
    var given = parameters
    given.size = size
    given.blockSize = blockSize
    let driver = FakeDriver()
    #expect { try configure(driver, given) } throws: {
      ($0 as? KernelError)?.kind == .unsupported
    }
    #expect(driver.asked == [])
  }

  @Test func largestSizeIsAllowed() throws {
    var given = parameters
    given.size = UInt64(Int64.max) - 511
    given.blockSize = 512
    try given.check(maximumBlockSize: 4096)
  }
}
