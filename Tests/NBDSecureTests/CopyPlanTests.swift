// SPDX-License-Identifier: Apache-2.0
import NBDProtocol
import Testing

@testable import NBDSecure

@Suite struct ByteRangesTests {
  @Test func unionAndGaps() {
    var state: UInt64 = 3
    func dice(_ n: UInt64) -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) % n
    }
    for _ in 0..<300 {
      var set = ByteRanges()
      var model = Set<UInt64>()
      for _ in 0..<dice(20) {
        let start = dice(64)
        let end = start + dice(20)
        set.insert(start..<end)
        model.formUnion(start..<end)
      }
      #expect(set.total == UInt64(model.count))
      let gaps = set.gaps(in: 0..<100)
      #expect(Set(gaps.flatMap { Array($0) }) == Set(0..<100).subtracting(model))
      for (a, b) in zip(set.ranges, set.ranges.dropFirst()) { #expect(a.upperBound < b.lowerBound) }
    }
  }
}

@Suite struct CopyPlanTests {
  private func plan(
    _ size: UInt64, done: ByteRanges = ByteRanges(), map: CopyPlan.Map = .none
  ) throws -> CopyPlan {
    try CopyPlan(
      0..<size, done: done, map: map,
      settings: CopyPlan.Settings(piece: 65536, zeroPiece: 1 << 20, alignment: 4096), lanes: 1)
  }

  /// All tasks until the plan has none; they are completed at once.
  private func drain(_ plan: CopyPlan, _ extents: (Range<UInt64>) -> [Extent] = { _ in [] })
    -> [CopyPlan.Task]
  {
    var tasks: [CopyPlan.Task] = []
    while tasks.count < 100_000 {
      let task = plan.next()
      switch task {
      case .wait, .quit: return tasks
      case .status(let range): plan.mapped(extents(range))
      case .data(let range), .zeroes(let range):
        tasks.append(task)
        plan.complete(range)
      case .flush: plan.flushed()
      }
    }
    return tasks
  }

  @Test func piecesCoverEverythingOnce() throws {
    let plan = try plan(200_001)
    #expect(
      drain(plan) == [
        .data(0..<65536), .data(65536..<131072), .data(131072..<196608), .data(196608..<200_001),
      ])
    #expect(try plan.isOver())
    #expect(plan.doneBytes == 200_001)
  }

  @Test func nothingToDo() throws {
    #expect(try plan(0).isOver())
    #expect(try plan(4096, done: ByteRanges([0..<4096])).isOver())
  }

  @Test func whatIsDoneIsLeftOut() throws {
    let plan = try plan(200_000, done: ByteRanges([0..<65536, 131072..<196608]))
    #expect(drain(plan) == [.data(65536..<131072), .data(196608..<200_000)])
  }

  @Test func extentsAreKeptToBlocks() throws {
    let plan = try plan(100_000, map: .server)
    let tasks = drain(plan) { range in
      // Data 0..<5000, zeroes 5000..<20000, data from there on; more than there is.
      range.lowerBound == 0
        ? [
          Extent(length: 5000, flags: 0), Extent(length: 15000, flags: 3),
          Extent(length: .max, flags: 0),
        ] : []
    }
    #expect(
      tasks == [
        .data(0..<8192), .zeroes(8192..<16384), .data(16384..<65536), .data(65536..<100_000),
      ])
  }

  /// Whatever a server says of its extents, every byte is a task once, and data is never zeroes.
  @Test func anyExtents() throws {
    var state: UInt64 = 11
    func dice(_ n: UInt64) -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) % n
    }
    for _ in 0..<200 {
      let size = 1 + dice(3 << 20)
      let seeds = dice(1 << 30)
      // A byte at p is data where this says so: runs of random length.
      var edges: [UInt64] = [0]
      while let last = edges.last, last < size {
        edges.append(last + 1 + dice(dice(2) == 0 ? 300 : 200_000))
      }
      let plan = try plan(size, map: .server)
      let tasks = drain(plan) { range in
        var extents: [Extent] = []
        for (index, (from, to)) in zip(edges, edges.dropFirst()).enumerated()
        where to > range.lowerBound && UInt64(extents.count) < 1 + seeds % 5 {
          let start = max(from, range.lowerBound)
          extents.append(Extent(length: UInt32(to - start), flags: index % 2 == 0 ? 0 : 2))
        }
        return extents
      }
      var position: UInt64 = 0
      for task in tasks {
        switch task {
        case .data(let range):
          #expect(range.lowerBound == position)
          position = range.upperBound
        case .zeroes(let range):
          #expect(range.lowerBound == position)
          position = range.upperBound
          let inData = zip(edges, edges.dropFirst()).enumerated().contains { index, edge in
            index % 2 == 0 && edge.0 < range.upperBound && edge.1 > range.lowerBound
          }
          #expect(!inData)
        default: break
        }
      }
      #expect(position == size)
      #expect(try plan.isOver())
    }
  }

  @Test func theFirstDifferenceCounts() throws {
    let plan = try plan(1 << 20)
    plan.verify(0..<(1 << 20))
    guard case .data(let first) = plan.next(), case .data(let second) = plan.next() else {
      Issue.record("no tasks")
      return
    }
    plan.differs(at: second.lowerBound + 3)
    plan.complete(second)
    #expect(plan.next() == .wait)
    #expect(try !plan.isOver())
    plan.differs(at: 17)
    plan.complete(first)
    #expect(try plan.isOver())
    #expect(plan.difference == 17)
  }

  @Test func flushesCoverWhatWasDone() throws {
    let plan = try plan(131072)
    guard case .data(let first) = plan.next() else {
      Issue.record("no tasks")
      return
    }
    plan.complete(first)
    plan.requestFlush()
    #expect(plan.next() == .flush)
    guard case .data(let second) = plan.next() else {
      Issue.record("no second task")
      return
    }
    plan.complete(second)
    plan.flushed()
    #expect(plan.takeFlushed() == ByteRanges([first]))
    #expect(plan.takeFlushed() == nil)
  }
}
