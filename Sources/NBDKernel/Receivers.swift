// SPDX-License-Identifier: Apache-2.0
import LinuxIO

/// The driver's workers that read the connections of a device (`recv_work`, drivers/block/nbd.c), as
/// the process table shows them: `kworker/u4:1+nbd0-recv`.
///
/// The driver puts a new socket in the place of a dead one without asking whether the worker that
/// read the old one has ended. What was still in the old one's buffer keeps it busy, and it would go
/// on with the new one: two readers of one stream.
package struct Receivers: Sendable {
  private let proc: String
  private let suffix: String

  package init(_ device: DeviceIndex, proc: String = "/proc") {
    self.proc = proc
    suffix = "+\(device.name)-recv"
  }

  /// How many run; nil where kernel threads are not to be seen, as in a PID namespace.
  package var running: Int? {
    guard (try? readLine("\(proc)/2/comm")) == "kthreadd" else { return nil }
    let processes = ((try? listDirectory(proc)) ?? []).filter { Int32($0) != nil }
    return processes.count { (try? readLine("\(proc)/\($0)/comm"))?.hasSuffix(suffix) == true }
  }

  /// Waits until no more than that many run, for one second at most: one that waits for a request
  /// which itself waits for the new connection ends without reading from it.
  package func settle(to count: Int) {
    let deadline = Deadline.after(seconds: 1)
    while let now = running {
      guard now > count, !deadline.hasPassed else { return }
      sleep(seconds: 0.005, until: deadline)
    }
    sleep(seconds: 0.1, until: deadline)
  }
}
