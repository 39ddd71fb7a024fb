// SPDX-License-Identifier: Apache-2.0
internal import Glibc
internal import LinuxIO
internal import SystemPackage

/// Loads kernel modules with the host's own modprobe.
package struct KernelModules: Sendable {
  private static let waitSeconds = 10.0
  private let settingPath: String

  /// The path is for tests.
  package init(settingPath: String = "/proc/sys/kernel/modprobe") {
    self.settingPath = settingPath
  }

  /// Tries to load a module, quietly: on a machine without modprobe, or where we may not, whoever
  /// needs the module will say that it is missing. Whether modprobe was content.
  @discardableResult
  package func load(_ name: String) -> Bool {
    do throws(Errno) {
      let null = try openFile("/dev/null", flags: O_RDWR)
      let process = try SpawnedProcess(
        path: program, arguments: ["-q", "--", name], environment: ["PATH=/usr/sbin:/sbin"],
        descriptors: [0: null.raw, 1: null.raw, 2: null.raw])
      return try process.wait(until: .after(seconds: Self.waitSeconds)) == .exited(0)
    } catch {
      return false
    }
  }

  /// The administrator's choice of program, where there is one.
  var program: String {
    let set = (try? readLine(settingPath)) ?? ""
    return set.hasPrefix("/") ? set : "/sbin/modprobe"
  }
}
