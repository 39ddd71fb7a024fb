// SPDX-License-Identifier: Apache-2.0
package import LinuxIO
package import SystemPackage

/// What the kernel shows of nbd devices under /sys.
package struct Sysfs: Sendable {
  private let root: String

  /// The root is for tests.
  package init(root: String = "/sys") { self.root = root }

  /// Whether the driver is there, as a module or built in.
  package var hasDriver: Bool {
    exists("\(root)/module/nbd") || !devices().isEmpty
  }

  /// All devices that exist, in order.
  package func devices() -> [DeviceIndex] {
    let names = (try? listDirectory("\(root)/block")) ?? []
    return names.compactMap { DeviceIndex($0) }.sorted()
  }

  /// Whether the device exists.
  package func exists(_ device: DeviceIndex) -> Bool { exists(path(device)) }

  private func exists(_ path: String) -> Bool { (try? FileFacts(path: path)) != nil }

  func path(_ device: DeviceIndex) -> String { "\(root)/block/\(device.name)" }

  private func line(_ device: DeviceIndex, _ name: String) -> String? {
    try? readLine("\(path(device))/\(name)")
  }

  private func number(_ device: DeviceIndex, _ name: String) -> UInt64? {
    line(device, name).flatMap { UInt64($0) }
  }

  /// The size in bytes; 0 while it is not connected.
  package func size(_ device: DeviceIndex) -> UInt64? {
    number(device, "size").map { $0 > UInt64.max / 512 ? UInt64.max : $0 * 512 }
  }

  /// Whether the kernel refuses writes.
  package func isReadOnly(_ device: DeviceIndex) -> Bool { number(device, "ro") == 1 }

  /// The process that connected the device. There while the device is connected, and the number of a
  /// process that may be long dead.
  package func pid(_ device: DeviceIndex) -> Int32? {
    line(device, "pid").flatMap { Int32($0) }
  }

  /// Whether the device is configured; its link may be dead all the same.
  package func isConnected(_ device: DeviceIndex) -> Bool { exists("\(path(device))/pid") }

  /// The backend identifier given at connect.
  package func backend(_ device: DeviceIndex) -> String? { line(device, "backend") }

  /// The devices connected with that backend identifier.
  package func devices(backend: String) -> [DeviceIndex] {
    devices().filter { self.backend($0) == backend }
  }

  /// The device number, major and minor.
  package func deviceNumber(_ device: DeviceIndex) -> FileFacts.Device? {
    line(device, "dev").flatMap { Self.deviceNumber($0) }
  }

  static func deviceNumber(_ text: String) -> FileFacts.Device? {
    let parts = text.split(separator: ":")
    guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else {
      return nil
    }
    return FileFacts.Device(major: major, minor: minor)
  }

  /// The partitions by name ("nbd0p1") with their device numbers.
  package func partitions(_ device: DeviceIndex) -> [String: FileFacts.Device] {
    var found: [String: FileFacts.Device] = [:]
    for name in (try? listDirectory(path(device))) ?? [] where name.hasPrefix(device.name + "p") {
      if let text = try? readLine("\(path(device))/\(name)/dev"),
        let number = Self.deviceNumber(text)
      {
        found[name] = number
      }
    }
    return found
  }

  /// Device mapper, md and their kind that are built on the device or a partition of it.
  package func holders(_ device: DeviceIndex) -> [String] {
    let places = [path(device)] + partitions(device).keys.sorted().map { "\(path(device))/\($0)" }
    return places.flatMap { (try? listDirectory("\($0)/holders")) ?? [] }
  }

  /// Loop devices whose file is the device or a partition of it.
  package func loops(over paths: Set<String>) -> [String] {
    ((try? listDirectory("\(root)/block")) ?? []).filter { name in
      guard name.hasPrefix("loop"),
        let file = try? readLine("\(root)/block/\(name)/loop/backing_file")
      else { return false }
      return paths.contains(file)
    }
  }

  /// Requests under way, as the block layer counts them.
  package func inFlight(_ device: DeviceIndex) -> (reads: UInt64, writes: UInt64)? {
    let fields = line(device, "inflight").map(Self.fields) ?? []
    return fields.count >= 2 ? (fields[0], fields[1]) : nil
  }

  /// Counters since the device was made (Documentation/block/stat.rst).
  package func statistics(_ device: DeviceIndex) -> BlockStatistics? {
    line(device, "stat").flatMap { BlockStatistics(Self.fields($0)) }
  }

  private static func fields(_ text: String) -> [UInt64] {
    text.split(whereSeparator: { $0 == " " || $0 == "\t" }).compactMap { UInt64($0) }
  }

  /// A number in the device's queue directory, such as "logical_block_size".
  package func queueLimit(_ device: DeviceIndex, _ name: String) -> UInt64? {
    number(device, "queue/\(name)")
  }

  /// Whether the kernel sends flushes, because the device was told to have a cache.
  package func hasWriteCache(_ device: DeviceIndex) -> Bool {
    line(device, "queue/write_cache") == "write back"
  }

  /// Sets the largest request in KiB, at most what the driver can have; the result is what is set.
  @discardableResult
  package func setLargestRequest(
    _ device: DeviceIndex, kibibytes: UInt64
  ) throws(Errno) -> UInt64 {
    let most = queueLimit(device, "max_hw_sectors_kb") ?? kibibytes
    let value = max(min(kibibytes, most), 4)
    try writeExisting("\(path(device))/queue/max_sectors_kb", String(value))
    return value
  }

  /// Waits until the kernel has let go of a device that was disconnected: its pid file is gone, which
  /// takes until the last opener has closed it. Throws `timedOut` at the deadline.
  package func waitUntilGone(
    _ device: DeviceIndex, until deadline: Deadline
  ) throws(KernelError) {
    var pause = 0.002
    while isConnected(device) {
      if deadline.hasPassed {
        throw KernelError(.timedOut, "the kernel has not let go of \(device) in time")
      }
      sleep(seconds: pause, until: deadline)
      pause = min(pause * 2, 0.1)
    }
  }
}

/// The counters of a block device.
package struct BlockStatistics: Hashable, Sendable {
  package let reads: UInt64
  package let bytesRead: UInt64
  package let writes: UInt64
  package let bytesWritten: UInt64
  package let inFlight: UInt64
  package let discards: UInt64
  package let flushes: UInt64
  /// Time that requests took in all, by kind, milliseconds.
  package let readMilliseconds: UInt64
  package let writeMilliseconds: UInt64
  package let discardMilliseconds: UInt64
  package let flushMilliseconds: UInt64

  /// Requests of all kinds that were answered, by an error too.
  package var completed: UInt64 { reads &+ writes &+ discards &+ flushes }

  init?(_ fields: [UInt64]) {
    guard fields.count >= 11 else { return nil }
    reads = fields[0]
    bytesRead = fields[2] &* 512
    writes = fields[4]
    bytesWritten = fields[6] &* 512
    inFlight = fields[8]
    discards = fields.count > 11 ? fields[11] : 0
    flushes = fields.count > 15 ? fields[15] : 0
    readMilliseconds = fields[3]
    writeMilliseconds = fields[7]
    discardMilliseconds = fields.count > 14 ? fields[14] : 0
    flushMilliseconds = fields.count > 16 ? fields[16] : 0
  }
}
