// SPDX-License-Identifier: Apache-2.0
import NBDKernel
import Synchronization
import SystemPackage
import Testing

/// What the ioctl binding makes of the driver's answers, without a kernel.
@Suite struct IoctlBindingTests {
  /// A driver that notes what it is asked for, and fails as it is told to.
  private final class Driver: NBDControl {
    private let failures: [NBDControlRequest: Errno]
    private let seen = Mutex<[NBDControlRequest]>([])

    init(_ failures: [NBDControlRequest: Errno] = [:]) { self.failures = failures }

    var requests: [NBDControlRequest] { seen.withLock { $0 } }
    var binding: IoctlBinding { IoctlBinding(control: self, name: "nbd7") }

    func perform(_ request: NBDControlRequest) -> Errno? {
      seen.withLock { $0.append(request) }
      return failures[request]
    }
  }

  private func configure(_ driver: Driver, flags: UInt16 = 1) throws {
    try driver.binding.configure(
      DeviceParameters(
        size: 1 << 20, blockSize: 512, flags: flags, timeoutSeconds: 60,
        deadConnTimeoutSeconds: 0, backendIdentifier: ""),
      sockets: [5, 6], maximumBlockSize: 4096)
  }

  @Test func tellsTheDriverEverything() throws {
    let driver = Driver()
    try configure(driver)
    #expect(
      driver.requests == [
        .setSocket(5), .setSocket(6), .setBlockSize(512), .setSizeInBlocks(2048), .setFlags(1),
        .setTimeout(seconds: 60),
      ])
  }

  /// Kernels before 2.6.39: what matters is that writes are refused.
  @Test(arguments: [(UInt16(3), true), (UInt16(1), false)])
  func withoutFlagsTheDeviceIsSetReadOnly(_ flags: UInt16, _ isReadOnly: Bool) throws {
    let driver = Driver([.setFlags(flags): .inappropriateIOCTLForDevice])
    try configure(driver, flags: flags)
    #expect(driver.requests.contains(.setReadOnly(isReadOnly)))
    // Where that fails too, the device is not used.
    let refusing = Driver([
      .setFlags(flags): .inappropriateIOCTLForDevice,
      .setReadOnly(isReadOnly): .permissionDenied,
    ])
    #expect(throws: KernelError.self) { try configure(refusing, flags: flags) }
    #expect(refusing.requests.suffix(2) == [.clearQueue, .clearSocket])
  }

  /// A device that somebody else has stays as it is.
  @Test func nothingOfOthersIsCleared() throws {
    let driver = Driver([.setSocket(5): .resourceBusy])
    let error = #expect(throws: KernelError.self) { try configure(driver) }
    #expect(error?.kind == .busy)
    #expect(driver.requests == [.setSocket(5)])
  }

  @Test(arguments: [
    NBDControlRequest.setSocket(6), .setBlockSize(512), .setSizeInBlocks(2048),
    .setTimeout(seconds: 60),
  ])
  func whatIsOursIsClearedAfterAFailure(_ failing: NBDControlRequest) throws {
    let driver = Driver([failing: .invalidArgument])
    #expect(throws: KernelError.self) { try configure(driver) }
    #expect(driver.requests.suffix(2) == [.clearQueue, .clearSocket])
    #expect(driver.requests.dropLast(2).last == failing)
  }

  @Test func theEndIsNoError() throws {
    for ending in [nil, Errno.brokenPipe] {
      let driver = Driver(ending.map { [.doIt: $0] } ?? [:])
      try driver.binding.run()
      #expect(driver.requests == [.doIt, .clearQueue, .clearSocket])
    }
    let failing = Driver([.doIt: .timedOut])
    #expect(throws: KernelError.self) { try failing.binding.run() }
    #expect(failing.requests == [.doIt, .clearQueue, .clearSocket])
  }
}
