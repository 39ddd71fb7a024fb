// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import SystemPackage
import Testing

@Suite struct DescriptorTests {
  @Test func closesAtTheEndOfItsLife() throws {
    let scratch = Scratch()
    let path = scratch.file("a", "")
    var raw: Int32 = -1
    do {
      let file = try openFile(path, flags: O_RDONLY)
      raw = file.raw
      #expect(fcntl(raw, F_GETFD) & FD_CLOEXEC != 0)
      let copy = try file.duplicate()
      #expect(copy.raw != raw)
      #expect(fcntl(copy.raw, F_GETFD) & FD_CLOEXEC != 0)
    }
    // Other tests run beside this one and may have opened the number again, but not to this file.
    let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(raw)")
    #expect(target != path)
  }

  @Test func releaseKeepsItOpen() throws {
    let raw = try openFile("/dev/null", flags: O_RDONLY).release()
    #expect(fcntl(raw, F_GETFD) >= 0)
    close(raw)
  }

  @Test func missingFileThrowsItsErrno() {
    #expect(throws: Errno.noSuchFileOrDirectory) {
      _ = try openFile("/nonexistent/file", flags: O_RDONLY).raw
    }
  }

  @Test func socketPairCanBeTakenApart() throws {
    let pair = try SocketPair(sendBuffer: 1 << 16)
    try sendAll([1, 2, 3], to: pair.first.raw, until: .after(seconds: 60))
    let second = pair.second
    #expect(try receive(3, from: second.raw, until: .after(seconds: 60)) == [1, 2, 3])
  }
}

@Suite struct DeadlineTests {
  @Test func countsDown() {
    #expect(Deadline.never.remainingMilliseconds == -1)
    #expect(!Deadline.never.hasPassed)
    #expect(Deadline.after(seconds: -1).hasPassed)
    #expect(Deadline.after(seconds: .nan).hasPassed)
    #expect(Deadline.after(seconds: .infinity) == .never)
    #expect(Deadline.after(seconds: 1e30) == .never)
    #expect(Deadline.after(seconds: 0).remainingMilliseconds == 0)
    let left = Deadline.after(seconds: 1000).remainingMilliseconds
    #expect(left > 900_000 && left <= 1_000_000)
    #expect(Deadline.after(seconds: 1) < .never)
  }

  @Test func waitingEndsAtTheDeadline() throws {
    let pair = try SocketPair()
    #expect(throws: Errno.timedOut) {
      try wait(pair.first.raw, for: .read, until: .after(seconds: 0.02))
    }
    #expect(throws: Errno.timedOut) {
      _ = try receive(1, from: pair.first.raw, until: .after(seconds: 0.02))
    }
  }
}
