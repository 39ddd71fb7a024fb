// SPDX-License-Identifier: Apache-2.0
internal import Glibc
internal import LinuxIO
internal import SystemPackage

/// One user of a device.
package enum DeviceHolder: Hashable, Sendable {
  /// A file system of the device, or of the partition named, is mounted there. With a process where
  /// that is in another mount namespace.
  case mount(name: String, path: String, process: Int32?)
  /// Swap is on.
  case swap(name: String)
  /// Device mapper, md or a loop device is built on it.
  case device(name: String)
  /// A process has it open.
  case process(pid: Int32, command: String)
  /// Somebody has claimed it exclusively who is not among the above.
  case exclusive
}

extension DeviceHolder: CustomStringConvertible {
  package var description: String {
    switch self {
    case .mount(let name, let path, nil): "\(name) is mounted on \(path)"
    case .mount(let name, let path, let process?):
      "\(name) is mounted on \(path) in the mount namespace of process \(process)"
    case .swap(let name): "\(name) is in use as swap"
    case .device(let name): "it is part of \(name)"
    case .process(let pid, let command): "it is open in process \(pid) (\(command))"
    case .exclusive: "it is claimed exclusively"
    }
  }
}

/// Finds out who uses a device.
package struct DeviceUse: Sendable {
  private let sysfs: Sysfs
  private let proc: String

  /// The roots are for tests.
  package init(sysfs: Sysfs = Sysfs(), proc: String = "/proc") {
    self.sysfs = sysfs
    self.proc = proc
  }

  /// Everybody who uses the device, its partitions included, but for the processes in `ignored`.
  /// Never opens the device, so it does not hang on one whose server is gone. What we may not look at
  /// (other users' processes, without root) is left out.
  package func holders(of device: DeviceIndex, ignoring ignored: Set<Int32> = []) -> [DeviceHolder]
  {
    var numbers: [FileFacts.Device: String] = [:]
    for (name, number) in sysfs.partitions(device) { numbers[number] = name }
    if let number = sysfs.deviceNumber(device) { numbers[number] = device.name }
    let paths = Set(numbers.values.map { "/dev/\($0)" } + [device.path])
    var found = mounts(numbers, paths)
    found += swaps(paths)
    found += sysfs.holders(device).map { .device(name: $0) }
    found += sysfs.loops(over: paths).map { .device(name: $0) }
    found += openFiles(numbers, paths, ignored)
    return found
  }

  /// The same, and if nobody was found whether the device can be claimed. Opens the device.
  package func holdersOrClaim(
    of device: DeviceIndex, ignoring ignored: Set<Int32> = []
  ) -> [DeviceHolder] {
    let found = holders(of: device, ignoring: ignored)
    return found.isEmpty && !Self.canClaim(device.path) ? [.exclusive] : found
  }

  /// Whether O_EXCL succeeds: nobody has mounted or claimed the device.
  package static func canClaim(_ path: String) -> Bool {
    do throws(Errno) {
      _ = try openFile(path, flags: O_RDONLY | O_EXCL | O_NONBLOCK)
      return true
    } catch {
      return error != .resourceBusy
    }
  }

  private var processes: [Int32] {
    ((try? listDirectory(proc)) ?? []).compactMap { Int32($0) }.sorted()
  }

  private func mounts(
    _ numbers: [FileFacts.Device: String], _ paths: Set<String>
  ) -> [DeviceHolder] {
    var found: [DeviceHolder] = []
    var seen: Set<String> = []
    let own = ThisProcess.identifier
    for process in [own] + processes.filter({ $0 != own }) {
      guard let namespace = try? readLink("\(proc)/\(process)/ns/mnt"),
        seen.insert(namespace).inserted,
        let table = try? readFile("\(proc)/\(process)/mountinfo", limit: 16 << 20)
      else { continue }
      let text = String(decoding: table.bytes, as: UTF8.self)
      for entry in MountEntry.parse(text) {
        let name = numbers[entry.device] ?? entry.source.flatMap { Self.name($0, paths) }
        guard let name else { continue }
        let holder = DeviceHolder.mount(
          name: name, path: entry.path, process: process == own ? nil : process)
        let known = found.contains {
          if case .mount(name, entry.path, _) = $0 { true } else { false }
        }
        if !known { found.append(holder) }
      }
    }
    return found
  }

  private static func name(_ path: String, _ paths: Set<String>) -> String? {
    paths.contains(path) ? String(path.dropFirst("/dev/".count)) : nil
  }

  private func swaps(_ paths: Set<String>) -> [DeviceHolder] {
    guard let table = try? readFile("\(proc)/swaps", limit: 1 << 20) else { return [] }
    return String(decoding: table.bytes, as: UTF8.self).split(separator: "\n").dropFirst()
      .compactMap { line in
        let path = line.prefix { $0 != " " && $0 != "\t" }
        return Self.name(String(path), paths).map { .swap(name: $0) }
      }
  }

  private func openFiles(
    _ numbers: [FileFacts.Device: String], _ paths: Set<String>, _ ignored: Set<Int32>
  ) -> [DeviceHolder] {
    var found: [DeviceHolder] = []
    for process in processes where !ignored.contains(process) {
      let directory = "\(proc)/\(process)/fd"
      let files = (try? listDirectory(directory)) ?? []
      let isHolding = files.contains { file in
        // The link's text first: asking a file on a dead network file system would hang.
        guard let target = try? readLink("\(directory)/\(file)") else { return false }
        if paths.contains(target) { return true }
        guard target.hasPrefix("/dev/") || target.contains("nbd"),
          let facts = try? FileFacts(path: "\(directory)/\(file)")
        else { return false }
        return facts.isBlockDevice && numbers[facts.special] != nil
      }
      if isHolding {
        let command = (try? readLine("\(proc)/\(process)/comm")) ?? "?"
        found.append(.process(pid: process, command: command))
      }
    }
    return found
  }
}

/// A line of /proc/PID/mountinfo.
struct MountEntry: Hashable {
  let device: FileFacts.Device
  let path: String
  let source: String?

  /// The lines that can be read; the others are left out.
  static func parse(_ text: String) -> [MountEntry] {
    text.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard fields.count >= 6, let device = Sysfs.deviceNumber(String(fields[2])) else {
        return nil
      }
      // The optional fields end with a hyphen; type and source follow.
      let dash = fields.dropFirst(6).firstIndex(of: "-")
      let source = dash.flatMap { $0 + 2 < fields.count ? unescape(fields[$0 + 2]) : nil }
      return MountEntry(device: device, path: unescape(fields[4]), source: source)
    }
  }

  /// Space, tab, newline and backslash come as three octal digits.
  static func unescape(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(value)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
