// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import SystemPackage
import TestSupport
import Testing

/// A directory that goes with the test.
final class Scratch {
  let path = NSTemporaryDirectory() + "nbd-secure-" + UUID().uuidString

  init() {
    try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String, _ contents: String) -> String {
    let full = "\(path)/\(name)"
    try! FileManager.default.createDirectory(
      atPath: (full as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try! Data(contents.utf8).write(to: URL(fileURLWithPath: full))
    return full
  }
}

@Suite struct FileTests {
  let scratch = Scratch()

  @Test func readsWithinItsLimit() throws {
    let path = scratch.file("a", "hello\n")
    #expect(try readFile(path, limit: 6).bytes == Array("hello\n".utf8))
    #expect(try readFile(path, limit: 6).facts.isRegular)
    #expect(throws: Errno.fileTooLarge) { try readFile(path, limit: 5) }
    let long = scratch.file("b", String(repeating: "x", count: 10_000))
    #expect(try readFile(long, limit: 10_000).bytes.count == 10_000)
    #expect(throws: Errno.fileTooLarge) { try readFile(long, limit: 9_999) }
    #expect(try readLine(path) == "hello")
    #expect(throws: Errno.isDirectory) { try readFile(scratch.path, limit: 10) }
    #expect(try !readFile("/proc/self/status", limit: 1 << 16).bytes.isEmpty)
  }

  @Test func fifoDoesNotBlock() throws {
    let path = scratch.path + "/fifo"
    #expect(mkfifo(path, 0o600) == 0)
    #expect(try !readFile(path, limit: 10).facts.isRegular)
  }

  @Test func lockIsHeldOnce() throws {
    let path = scratch.path + "/lock"
    #expect(try LockFile.holder(of: path) == nil)
    do {
      let lock = try LockFile.acquire(path)
      #expect(lock != nil ? true : false)
      #expect(try LockFile.acquire(path) == nil ? true : false)
      #expect(try LockFile.holder(of: path) == getpid())
    }
    // A child of another test has what we close open until its exec, and with it the lock.
    #expect(try eventually { try LockFile.holder(of: path) == nil })
    #expect(try eventually { try LockFile.acquire(path) != nil ? true : false })
  }

  @Test func ringIsContiguousEverywhere() throws {
    var ring = try MirroredRing(capacity: 9000, mirrored: 5000)
    #expect(ring.capacity == 12288)
    #expect(ring.mirrored == 8192)
    let whole = ring.run(from: 0)
    #expect(whole.count == 12288)
    whole.copyBytes(from: (0..<12288).map { UInt8(truncatingIfNeeded: $0 / 64) })
    // Across the end, from a position that has gone round: what lies at the beginning follows.
    let across = ring.run(from: 3 * 12288 + 12000)
    #expect(across.count == 8192 + 288)
    #expect(Array(across[..<288]) == Array(whole[12000...]))
    #expect(Array(across[288...]) == Array(whole[..<8192]))
    across[300] = 77
    #expect(whole[12] == 77)
    ring.restart(at: 5 * 12288 + 12000)
    #expect(ring.run(from: 5 * 12288 + 12000).baseAddress == whole.baseAddress)
    #expect(ring.run(from: 5 * 12288 + 12004).baseAddress == whole.baseAddress.map { $0 + 4 })
    #expect(throws: Errno.invalidArgument) {
      _ = try MirroredRing(capacity: 0, mirrored: 1).capacity
    }
    #expect(throws: Errno.invalidArgument) {
      _ = try MirroredRing(capacity: 4096, mirrored: 8192).capacity
    }
  }

  @Test func wipeEmpties() {
    var secret: [UInt8] = [1, 2, 3]
    wipe(&secret)
    #expect(secret.isEmpty)
  }
}
