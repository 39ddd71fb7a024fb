// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import SystemPackage
import TestSupport
import Testing

@Suite struct OwnFileTests {
  let scratch = Scratch()

  @Test func replaces() throws {
    let path = scratch.path + "/state"
    try OwnFile.replace(path, [1, 2], mode: 0o600)
    try OwnFile.replace(path, [3], mode: 0o640)
    let contents = try readFile(path, limit: 10)
    #expect(contents.bytes == [3])
    #expect(contents.facts.mode == 0o640)
    #expect(try listDirectory(scratch.path) == ["state"])
    #expect(throws: Errno.noSuchFileOrDirectory) {
      try OwnFile.replace(scratch.path + "/no/state", [1])
    }
    try OwnFile.remove(path)
    #expect(try listDirectory(scratch.path) == [])
    try OwnFile.remove(path)
  }

  @Test func leftoversAreWrittenAnewOrRemoved() throws {
    let path = scratch.path + "/state"
    _ = scratch.file("state.new", "longer than what follows")
    try OwnFile.replace(path, [1])
    #expect(try readFile(path, limit: 100).bytes == [1])
    #expect(try listDirectory(scratch.path) == ["state"])
    _ = scratch.file("state.new", "half of it")
    try OwnFile.remove(path)
    #expect(try listDirectory(scratch.path) == [])
  }

  @Test(arguments: ["link", "name", "mode", "fifo"])
  func whatIsNotOursAloneIsReplaced(_ kind: String) throws {
    let path = scratch.path + "/state"
    let precious = scratch.file("precious", "precious")
    switch kind {
    case "link": #expect(symlink(precious, path + ".new") == 0)
    case "name": #expect(link(precious, path + ".new") == 0)
    case "mode":
      _ = scratch.file("state.new", "x")
      #expect(chmod(path + ".new", 0o666) == 0)
    default: #expect(mkfifo(path + ".new", 0o600) == 0)
    }
    // Whoever has it open may write to it.
    let held = open(path + ".new", O_RDWR | O_NONBLOCK)
    defer { close(held) }
    try OwnFile.replace(path, [1])
    _ = Array("theirs".utf8).withUnsafeBytes {
      kind == "mode" ? pwrite(held, $0.baseAddress, 6, 0) : 0
    }
    #expect(try readFile(path, limit: 100).bytes == [1])
    #expect(try readLine(precious) == "precious")
    #expect(try listDirectory(scratch.path).sorted() == ["precious", "state"])
  }

  @Test func notOursIsNotKept() throws {
    let path = scratch.file("partial", "x")
    #expect(chmod(path, 0o620) == 0)
    #expect(throws: Errno.permissionDenied) { _ = try OwnFile.open(path, keeping: true) }
    #expect(throws: Errno.noSuchFileOrDirectory) {
      _ = try OwnFile.open(scratch.path + "/none", keeping: true)
    }
    #expect(try readLine(path) == "x")
  }

  @Test func oneAtATime() throws {
    let path = scratch.path + "/partial"
    do {
      let first = try OwnFile.open(path)
      #expect(first != nil ? true : false)
      #expect(try OwnFile.open(path) == nil ? true : false)
    }
    // A child of another test has the file open, and locked, until its exec.
    #expect(try eventually { try OwnFile.open(path, keeping: true) != nil ? true : false })
  }

  @Test func whatIsBeingWrittenIsNotRemoved() throws {
    let path = scratch.path + "/state"
    let writer = try OwnFile.open(path + ".new")
    #expect(writer != nil ? true : false)
    try OwnFile.remove(path)
    #expect(try listDirectory(scratch.path) == ["state.new"])
  }

  /// Each reads whole contents of one of them, and none fails.
  @Test func severalWriters() async throws {
    let path = scratch.path + "/state"
    try OwnFile.replace(path, [UInt8](repeating: 0, count: 5000))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 1...4 {
        group.addTask {
          for _ in 0..<50 {
            try OwnFile.replace(path, [UInt8](repeating: UInt8(writer), count: 5000 + writer))
            let bytes = try readFile(path, limit: 10_000).bytes
            let first = try #require(bytes.first)
            #expect(bytes == [UInt8](repeating: first, count: 5000 + Int(first)))
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try listDirectory(scratch.path) == ["state"])
  }

  /// Nobody's file is taken away while it is being written.
  @Test func removingHarmsNoWriter() async throws {
    let path = scratch.path + "/state"
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<2 {
        group.addTask { for _ in 0..<300 { try OwnFile.replace(path, [1]) } }
        group.addTask { for _ in 0..<3000 { try OwnFile.remove(path) } }
      }
      try await group.waitForAll()
    }
  }
}
