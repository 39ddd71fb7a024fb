// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import Synchronization
import SystemPackage

/// Ties a supervisor to the process that waits for its device: while that waits, its end ends us,
/// so that an interrupted attach leaves nothing behind.
final class Lifeline: Sendable {
  static let interrupted = NBDSecureError(.other, "interrupted before the device was ready")

  private enum Phase: Int, AtomicRepresentable {
    /// No device yet: this process may simply end.
    case connecting
    /// There is a device to undo.
    case attaching
    /// Nobody waits any more.
    case released
  }

  private let phase = Atomic<Phase>(.connecting)
  private let cut = Atomic<Bool>(false)
  /// What is watched; −1 where nobody waits.
  private let watched: Int32
  private let event: EventSignal
  private let abandon: @Sendable () -> Void

  /// Watches `descriptor` on a thread of its own; −1 watches nothing.
  ///
  /// - Parameter abandon: removes what the process itself does not take with it; called on that
  ///   thread when the lifeline is cut before there is a device.
  init(
    _ descriptor: Int32, abandon: @escaping @Sendable () -> Void
  ) throws(NBDSecureError) {
    watched = descriptor
    self.abandon = abandon
    event = try system("make an event descriptor") { () throws(Errno) in try EventSignal() }
    guard descriptor >= 0 else { return }
    try? spawnDetachedThread(name: "lifeline") { [self] in watch() }
  }

  private func watch() {
    // The other end sends nothing: what makes it readable is its end.
    _ = try? wait(watched, for: .read, until: .never)
    switch phase.load(ordering: .acquiring) {
    case .connecting
    where phase.compareExchange(
      expected: .connecting, desired: .released, ordering: .acquiringAndReleasing
    ).exchanged:
      // Connections and memory go with the process.
      abandon()
      _exit(1)
    case .released: break
    default:
      cut.store(true, ordering: .releasing)
      event.signal()
    }
  }

  /// Readable when the lifeline was cut while there is a device.
  var descriptor: Int32 { event.descriptor.raw }

  /// Whether the one who waits is gone, and a device must be undone.
  var isCut: Bool { cut.load(ordering: .acquiring) }

  /// From now on there is a device to undo; false when it is too late for one.
  func commit() -> Bool {
    phase.compareExchange(
      expected: .connecting, desired: .attaching, ordering: .acquiringAndReleasing
    ).exchanged
  }

  /// The device is ready: from now on nobody waits.
  func release() { phase.store(.released, ordering: .releasing) }
}
