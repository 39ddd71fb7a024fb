// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDKernel
import TestSupport
import Testing

@Suite struct ReceiversTests {
  /// A process table with these names, by process number.
  private final class Table: Sendable {
    let directory: TemporaryDirectory
    var path: String { directory.path }

    init(_ names: [Int: String]) throws {
      directory = try TemporaryDirectory()
      for (process, name) in names { try add(process, name) }
    }

    func add(_ process: Int, _ name: String) throws {
      try FileManager.default.createDirectory(
        atPath: "\(path)/\(process)", withIntermediateDirectories: true)
      try Data("\(name)\n".utf8).write(to: URL(fileURLWithPath: "\(path)/\(process)/comm"))
    }
  }

  private func receivers(_ device: UInt32, _ table: Table) -> Receivers {
    Receivers(DeviceIndex(device), proc: table.path)
  }

  @Test func workersOfTheDeviceCount() throws {
    let table = try Table([
      1: "systemd", 2: "kthreadd", 70: "nbd1-recv", 71: "kworker/u4:0+nbd1-recv",
      72: "kworker/u4:1+nbd1-recv", 73: "kworker/u4:2-nbd1-recv", 74: "kworker/u4:3+nbd11-recv",
      75: "kworker/u4:4+nbd0-recv",
    ])
    #expect(receivers(1, table).running == 2)
    #expect(receivers(11, table).running == 1)
    #expect(receivers(2, table).running == 0)
  }

  @Test func whereKernelThreadsAreHiddenNobodyKnows() throws {
    let table = try Table([1: "systemd", 2: "bash", 71: "kworker/u4:0+nbd1-recv"])
    #expect(receivers(1, table).running == nil)
    receivers(1, table).settle(to: 0)
  }

  /// Returns when they have ended, and after a while where they do not.
  @Test func settlingWaits() throws {
    let table = try Table([2: "kthreadd", 71: "kworker/u4:0+nbd1-recv"])
    receivers(1, table).settle(to: 1)
    // It waits for a second, and who ends the worker may stand still for longer: then once more.
    let hasWaited = try (0..<20).contains { _ in
      try table.add(71, "kworker/u4:0+nbd1-recv")
      let done = try whenLookedAt(5, "\(table.path)/71/comm") {
        try? table.add(71, "kworker/u4:0-nbd1-recv")
      }
      defer { done.wait() }
      receivers(1, table).settle(to: 0)
      return receivers(1, table).running == 0
    }
    #expect(hasWaited)
    try table.add(72, "kworker/u4:1+nbd1-recv")
    let begin = monotonicNanoseconds()
    receivers(1, table).settle(to: 0)
    #expect(receivers(1, table).running == 1)
    #expect(monotonicNanoseconds() - begin >= 1_000_000_000)
  }

  /// Does something on another thread when a file has been opened so often: more often than by who
  /// looks without waiting. Signals when it was done, or nobody looks any more.
  private func whenLookedAt(
    _ times: Int, _ path: String, _ action: @escaping @Sendable () -> Void
  ) throws -> DispatchSemaphore {
    let looks = inotify_init1(Int32(IN_CLOEXEC))
    guard inotify_add_watch(looks, path, UInt32(IN_OPEN)) >= 0 else {
      throw SystemError("inotify_add_watch \(path)")
    }
    let done = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      var events = [UInt8](repeating: 0, count: 4096)
      let end = Deadline.after(seconds: 2)
      let wasLookedAt = (0..<times).allSatisfy { _ in
        (try? wait(looks, for: .read, until: end)) != nil && read(looks, &events, events.count) > 0
      }
      close(looks)
      if wasLookedAt { action() }
      done.signal()
    }
    return done
  }
}
