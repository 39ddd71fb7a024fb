// SPDX-License-Identifier: Apache-2.0
internal import Synchronization
package import SystemPackage

/// A thread for one job after another: it starts with the first, and ends when the value goes away
/// and the last is done.
///
/// For work that comes again and again in a process that lasts. A thread for each job costs what
/// never comes back: GnuTLS keeps a random generator for every thread that ever asked it for one
/// until the process ends, and malloc spreads over arenas.
package final class Worker: Sendable {
  private let core: Core
  private let name: String
  private let stackSize: Int

  package init(name: String, stackSize: Int = smallStackSize) throws(Errno) {
    core = try Core()
    self.name = name
    self.stackSize = stackSize
  }

  deinit { core.end() }

  /// Does `job` after those that were given before.
  ///
  /// - Throws: `Errno` where there is no thread yet, and none to be had; the job is dropped.
  package func run(_ job: @escaping @Sendable () -> Void) throws(Errno) {
    if core.claimThread() {
      do throws(Errno) {
        try spawnDetachedThread(name: name, stackSize: stackSize) { [core] in core.work() }
      } catch {
        core.threadFailed()
        throw error
      }
    }
    core.add(job)
  }

  /// What the thread holds on to; not the worker, whose end is the thread's.
  private final class Core: Sendable {
    private struct State {
      var jobs: [@Sendable () -> Void] = []
      var hasThread = false
      var isOver = false
    }

    private let state = Mutex(State())
    private let changed: EventSignal

    init() throws(Errno) { changed = try EventSignal() }

    /// Whether there is no thread yet: the caller starts it, and nobody else.
    func claimThread() -> Bool {
      state.withLock { state in
        defer { state.hasThread = true }
        return !state.hasThread
      }
    }

    func threadFailed() { state.withLock { $0.hasThread = false } }

    func add(_ job: @escaping @Sendable () -> Void) {
      state.withLock { $0.jobs.append(job) }
      changed.signal()
    }

    func end() {
      state.withLock { $0.isOver = true }
      changed.signal()
    }

    func work() {
      while true {
        try? changed.wait(until: .never)
        changed.drain()
        while doNext() {}
        if state.withLock({ $0.isOver && $0.jobs.isEmpty }) { return }
      }
    }

    /// Does one job, of which nothing is held afterwards; whether there was one.
    private func doNext() -> Bool {
      let job = state.withLock { $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }
      job?()
      return job != nil
    }
  }
}
