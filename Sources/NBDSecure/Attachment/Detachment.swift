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
    var patience = Deadline.never
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
      if !state.busy { state.patience = .after(seconds: Detach.patience) }
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

  /// Tells the service manager, which waits a short time for an end that may not come, that one is
  /// still being worked on: flushing can wait for the server.
  func askForTime() {
    let isWorking = state.withLock { $0.busy && !$0.patience.hasPassed }
    guard isWorking, ServiceManager.isListening else { return }
    _ = try? ServiceManager.notify(["EXTEND_TIMEOUT_USEC=5000000"])
  }

  /// Says why there is no end.
  func tellThatItStays(_ device: String, _ holders: [String], _ log: EventLog) {
    let why = "in use (\(holders.joined(separator: ", ")))"
    log.write(.warning, "\(device): told to stop, but \(why): the device stays")
    guard ServiceManager.isListening else { return }
    _ = try? ServiceManager.notify(["STATUS=attached as \(device); told to stop, but \(why)"])
  }

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
