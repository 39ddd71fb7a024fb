// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing

@testable import LinuxIO

@Suite struct WorkerTests {
  private final class Notes: Sendable {
    let lines = Mutex<[(job: Int, thread: String)]>([])
    let changed: EventSignal
    init() throws { changed = try EventSignal() }

    func take(_ job: Int) {
      // A pthread_t comes again; the kernel's number does not so soon.
      let thread = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self"))
      lines.withLock { $0.append((job, thread ?? "")) }
      changed.signal()
    }
  }

  /// The thread is the same, so what libraries keep for each thread does not add up.
  @Test func oneThreadForAllJobs() throws {
    let worker = try Worker(name: "test")
    let notes = try Notes()
    for job in 0..<50 {
      try worker.run { notes.take(job) }
      if job % 2 == 0 { try notes.changed.wait(until: .after(seconds: 60)) }
      notes.changed.drain()
    }
    let deadline = Deadline.after(seconds: 60)
    while notes.lines.withLock({ $0.count < 50 }), !deadline.hasPassed {
      try notes.changed.wait(until: deadline)
      notes.changed.drain()
    }
    let lines = notes.lines.withLock { $0 }
    #expect(lines.map(\.job) == Array(0..<50))
    #expect(Set(lines.map(\.thread)).count == 1)
  }

  /// The last reference may be the job's own; what it was given is done before the thread ends, and
  /// nothing of it is held afterwards.
  @Test func endsWithItsValue() throws {
    final class Witness: Sendable {
      let gone: Notes
      init(_ gone: Notes) { self.gone = gone }
      deinit { gone.take(-1) }
    }
    let notes = try Notes()
    do {
      let worker = try Worker(name: "test")
      let (first, second) = (Witness(notes), Witness(notes))
      try worker.run { _ = (first, worker) }
      try worker.run { _ = second }
    }
    let deadline = Deadline.after(seconds: 60)
    while notes.lines.withLock({ $0.count < 2 }), !deadline.hasPassed {
      try notes.changed.wait(until: deadline)
      notes.changed.drain()
    }
    #expect(notes.lines.withLock { $0.count } == 2)
  }
}
