// SPDX-License-Identifier: Apache-2.0
package import LinuxIO
import Synchronization

/// Where single lines about an attachment go: to a writer of the caller's (standard error), or to
/// the system's journal.
package final class EventLog: Sendable {
  private enum Sink: Sendable {
    case writer(@Sendable (LogPriority, String) -> Void)
    case system
  }

  private let sink: Mutex<Sink>
  private let system: SystemLog?

  /// - Parameter writer: gets each line at first; see `switchToSystem`.
  package init(_ writer: @escaping @Sendable (LogPriority, String) -> Void) {
    sink = Mutex(.writer(writer))
    system = try? SystemLog(identifier: "nbd-secure")
  }

  /// From now on lines go to the journal, or to syslog where there is none.
  package func switchToSystem() { sink.withLock { $0 = .system } }

  /// A line for the journal alone, for what people are told on standard error already.
  package func writeToSystem(_ priority: LogPriority, _ message: String) {
    system?.write(priority, message)
  }

  package func write(_ priority: LogPriority, _ message: String) {
    let sink = sink.withLock { $0 }
    switch sink {
    case .writer(let write): write(priority, message)
    case .system: system?.write(priority, message)
    }
  }
}
