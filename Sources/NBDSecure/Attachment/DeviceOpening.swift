// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel
import Synchronization
import SystemPackage

/// Opens a new device once, so that the kernel reads its partition table, and sets its queue's
/// limits. This waits for the server, so it has a thread of its own, and the opening a process: a
/// thread that sleeps in the device would keep a killed supervisor from ending.
final class DeviceOpening: Sendable {
  /// Readable when it is done.
  let done: EventSignal
  private let finished = Atomic<Bool>(false)

  /// - Parameters:
  ///   - isNew: a device that is taken over has been opened before, and may have requests waiting
  ///     that come first: it is not waited for.
  ///   - name: the attachment's; udev's link of that name is waited for, too.
  init(
    _ device: DeviceIndex, plan: DevicePlan, isNew: Bool, name: AttachmentName?
  ) throws(NBDSecureError) {
    done = try system("make an event descriptor") { () throws(Errno) in try EventSignal() }
    try system("start a thread") { () throws(Errno) in
      try spawnDetachedThread(name: "opening") { [self] in
        // Neither is needed for the device to work.
        _ = try? Sysfs().setLargestRequest(device, kibibytes: UInt64(plan.maximumRequest >> 10))
        if isNew, var opening = try? FlushingProcess(device, writesBack: false) {
          try? opening.wait(until: .never)
        }
        if let name { DeviceLink(device, name).announce(waiting: isNew) }
        finished.store(true, ordering: .releasing)
        done.signal()
      }
    }
  }

  var isDone: Bool { finished.load(ordering: .acquiring) }
}
