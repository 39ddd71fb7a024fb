// SPDX-License-Identifier: Apache-2.0
import Foundation
import SystemPackage
import Testing

@testable import LinuxIO

@Suite struct ProcessTests {
  let soon = Deadline.after(seconds: 60)
  let scratch = Scratch()

  @Test func startsWithTheDescriptorsGiven() throws {
    let pair = try SocketPair()
    let null = try openFile("/dev/null", flags: O_RDWR)
    let leaked = dup(0)  // not close-on-exec
    defer { close(leaked) }
    let process = try SpawnedProcess(
      path: "/bin/sh", arguments: ["-c", "echo \"$X\" $(ls /proc/self/fd | wc -l) >&5"],
      environment: ["X=y z", "PATH=/bin:/usr/bin"],
      descriptors: [0: null.raw, 1: null.raw, 2: null.raw, 5: pair.second.raw], newSession: true)
    #expect(try process.wait(until: soon) == .exited(0))
    // ls sees 0, 1, 2, 5 and the directory itself.
    #expect(
      String(decoding: try receive(6, from: pair.first.raw, until: soon), as: UTF8.self)
        == "y z 5\n")
  }

  @Test(arguments: [("@sh", "@sh\n"), (nil, "/bin/sh\n")])
  func isCalledWhatItIsTold(name: String?, seen: String) throws {
    let pair = try SocketPair()
    let process = try SpawnedProcess(
      path: "/bin/sh", name: name, arguments: ["-c", "echo \"$0\""],
      environment: ["PATH=/bin:/usr/bin"], descriptors: [1: pair.second.raw])
    #expect(try process.wait(until: soon) == .exited(0))
    let bytes = try receive(seen.utf8.count, from: pair.first.raw, until: soon)
    #expect(String(decoding: bytes, as: UTF8.self) == seen)
  }

  @Test func mappingsMayCross() throws {
    let pair = try SocketPair()
    let one = try openFile(scratch.file("one", "1"), flags: O_RDONLY)
    let two = try openFile(scratch.file("two", "2"), flags: O_RDONLY)
    let low = min(one.raw, two.raw)
    let high = max(one.raw, two.raw)
    let process = try SpawnedProcess(
      path: "/bin/sh", arguments: ["-c", "cat /proc/self/fd/\(low) /proc/self/fd/\(high)"],
      environment: ["PATH=/bin:/usr/bin"],
      descriptors: [1: pair.second.raw, low: high, high: low])
    #expect(try process.wait(until: soon) == .exited(0))
    let text = String(decoding: try receive(2, from: pair.first.raw, until: soon), as: UTF8.self)
    #expect(text == (low == one.raw ? "21" : "12"))
  }

  @Test func tellsHowItEnded() throws {
    let process = try SpawnedProcess(
      path: "/bin/sleep", arguments: ["100"], environment: [], descriptors: [:])
    #expect(throws: Errno.timedOut) { _ = try process.wait(until: .after(seconds: 0.05)) }
    process.signal(SIGTERM)
    #expect(try process.wait(until: soon) == .killed(signal: SIGTERM))
    #expect(throws: Errno.noSuchFileOrDirectory) {
      _ = try SpawnedProcess(
        path: "/nonexistent", arguments: [], environment: [], descriptors: [:]
      ).identifier
    }
  }

  @Test func threadsRunAndJoin() throws {
    let signal = try EventSignal()
    let raw = signal.descriptor.raw
    let thread = try Thread(name: "test") {
      var one: UInt64 = 1
      _ = write(raw, &one, 8)
    }
    thread.join()
    #expect(signal.drain() == true)
    #expect(signal.drain() == false)
    signal.signal()
    try signal.wait(until: soon)
  }

  @Test func timerFires() throws {
    let timer = try Timer()
    try timer.arm(seconds: 0.01)
    try wait(timer.descriptor, for: .read, until: soon)
    #expect(timer.drain() == true)
    try timer.arm(seconds: 100)
    try timer.disarm()
    #expect(timer.drain() == false)
  }

  @Test func signalsArrive() throws {
    let queue = try SignalQueue([SIGUSR2])
    #expect(try queue.next() == nil)
    // To this thread, which has it blocked; others of the test runner do not.
    #expect(pthread_kill(pthread_self(), SIGUSR2) == 0)
    #expect(try queue.next()?.number == SIGUSR2)
  }

  @Test func readsItsOwnState() throws {
    #expect(ThisProcess.pageSize >= 4096)
    #expect(ThisProcess.environment("PATH") != nil)
    #expect(ThisProcess.environment.contains { $0.hasPrefix("PATH=") })
    #expect(!ThisProcess.hasCapability(-1))
    #expect(!ThisProcess.hasCapability(64))
  }

  /// A datagram socket at a path, as the service manager or the journal has it.
  private func datagramListener(_ path: String) throws -> Descriptor {
    let raw = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let abstract = path.hasPrefix("\0")
    let length = socklen_t(2 + path.utf8.count + (abstract ? 0 : 1))
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(raw, $0, length) }
    }
    #expect(bound == 0)
    return Descriptor(owning: raw)
  }

  private func datagram(_ listener: borrowing Descriptor) -> String {
    var buffer = [UInt8](repeating: 0, count: 65536)
    let got = recv(listener.raw, &buffer, buffer.count, Int32(MSG_DONTWAIT))
    return got < 0 ? "" : String(decoding: buffer.prefix(got), as: UTF8.self)
  }

  @Test func notifiesPathsAndAbstractNames() throws {
    let name = "nbd-secure-\(UUID().uuidString)"
    let abstract = try datagramListener("\0" + name)
    try ServiceManager.notify(["READY=1", "STATUS=up"], socket: "@" + name)
    #expect(datagram(abstract) == "READY=1\nSTATUS=up\n")
    let path = scratch.path + "/notify"
    let named = try datagramListener(path)
    try ServiceManager.notify(["READY=1"], socket: path)
    #expect(datagram(named) == "READY=1\n")
    #expect(throws: Errno.noSuchFileOrDirectory) {
      try ServiceManager.notify(["READY=1"], socket: scratch.path + "/nobody")
    }
  }

  @Test func logsToTheJournalElseToSyslog() throws {
    let journal = scratch.path + "/journal"
    let syslog = scratch.path + "/log"
    let log = try SystemLog(identifier: "nbd-secure", journalPath: journal, syslogPath: syslog)
    #expect(!log.write(.notice, "nobody there"))
    let old = try datagramListener(syslog)
    #expect(log.write(.warning, "one\ntwo"))
    let line = datagram(old)
    #expect(line.hasPrefix("<28>"))
    #expect(line.hasSuffix(" nbd-secure[\(getpid())]: one two"))
    let new = try datagramListener(journal)
    #expect(log.write(.error, "lost", fields: [("DEVICE", "nbd0")]))
    #expect(
      datagram(new)
        == "PRIORITY=3\nSYSLOG_IDENTIFIER=nbd-secure\nMESSAGE=lost\nDEVICE=nbd0\n")
    #expect(log.write(.error, "a\nb"))
    #expect(datagram(new).contains("MESSAGE\n\u{3}\0\0\0\0\0\0\0a\nb\n"))
    #expect(log.write(.info, String(repeating: "x", count: 100_000)))
    #expect(datagram(new).utf8.count < 9000)
  }
}
