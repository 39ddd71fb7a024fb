// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel
import Synchronization

/// A detach that the supervisor was told to make by a signal. It looks at the device's users and
/// flushes, which can wait for the server, so it has a thread of its own.
final class Detachment: Sendable {
  enum Outcome: Sendable {
    /// The kernel was told to disconnect.
    case begun
    case inUse([String])
    case failed(String)
  }

  private struct State {
    var busy = false
    var outcome: Outcome?
  }

  private let state = Mutex(State())
  /// Readable when there is an outcome.
  let done: EventSignal

  init() throws(NBDSecureError) {
    do { done = try EventSignal() } catch {
      throw NBDSecureError(.other, "cannot make an event descriptor: \(error)")
    }
  }

  /// Begins, unless one is under way.
  ///
  /// - Parameter flush: whether to flush first; not while the server is gone.
  func begin(binding: any DeviceBinding, flush: Bool) {
    let begin = state.withLock { state in
      defer { state.busy = true }
      return !state.busy
    }
    guard begin else { return }
    let binding = Handover(binding)
    do {
      try spawnDetachedThread(name: "detach") { [self] in
        finish(Self.detach(binding.value, flush: flush))
      }
    } catch { finish(.failed("cannot start a thread: \(error)")) }
  }

  private static func detach(_ binding: any DeviceBinding, flush: Bool) -> Outcome {
    let holders = DeviceUse().lastingHolders(
      of: binding.device, ignoring: [ThisProcess.identifier])
    guard holders.isEmpty else { return .inUse(holders.map(\.description)) }
    do throws(KernelError) {
      if flush {
        // Held exclusively until the kernel was told, so that nobody mounts it in between; and in a
        // process of its own, because one of ours that sleeps in the device of a silent server would
        // keep us, our lock and our sockets from ending, even when we are killed.
        var flushing = try FlushingProcess(
          binding.device, writesBack: !Sysfs().isReadOnly(binding.device))
        try flushing.wait(until: .after(seconds: Detach.patience))
        try binding.disconnect()
      } else {
        try binding.disconnect()
      }
    } catch {
      return error.kind == .busy ? .inUse([error.message]) : .failed(error.message)
    }
    return .begun
  }

  /// Whether one has begun whose outcome nobody took yet: the device may be gone before it is taken.
  var isUnderWay: Bool { state.withLock { $0.busy } }

  private func finish(_ outcome: Outcome) {
    state.withLock { $0.outcome = outcome }
    done.signal()
  }

  /// The outcome, once.
  func takeOutcome() -> Outcome? {
    _ = done.drain()
    return state.withLock { state in
      guard let outcome = state.outcome else { return nil }
      state = State()
      return outcome
    }
  }
}
