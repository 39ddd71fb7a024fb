// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import SystemPackage
import Testing

@testable import NBDKernel

@Suite struct KernelStateTests {
  let scratch = Scratch()

  /// A connected nbd0 with a partition, and a free nbd10.
  private func sysfs() -> Sysfs {
    let files = [
      "nbd0/size": "2048\n", "nbd0/ro": "0\n", "nbd0/pid": "77\n", "nbd0/backend": "abc\n",
      "nbd0/dev": "43:0\n", "nbd0/inflight": "       1        2\n",
      "nbd0/stat": "10 0 16 5 20 0 24 5 3 0 0 7 0 0 0 9 0\n",
      "nbd0/queue/max_sectors_kb": "128\n", "nbd0/queue/max_hw_sectors_kb": "512\n",
      "nbd0/nbd0p1/dev": "43:1\n", "nbd0/nbd0p1/holders/dm-3": "", "nbd0/holders/md0": "",
      "nbd10/size": "0\n", "nbd2x/size": "0\n", "sda/size": "1\n",
      "loop7/loop/backing_file": "/dev/nbd0p1\n",
    ]
    for (name, text) in files { _ = scratch.file("block/\(name)", text) }
    return Sysfs(root: scratch.path)
  }

  @Test func sysfsIsRead() throws {
    let sysfs = sysfs()
    let device = DeviceIndex(0)
    #expect(sysfs.hasDriver)
    #expect(sysfs.devices() == [DeviceIndex(0), DeviceIndex(10)])
    #expect(sysfs.freeDevices() == [DeviceIndex(10)])
    #expect(sysfs.size(device) == 1 << 20)
    #expect(!sysfs.isReadOnly(device))
    #expect(sysfs.pid(device) == 77)
    #expect(sysfs.isConnected(device))
    #expect(!sysfs.isConnected(DeviceIndex(10)))
    #expect(sysfs.devices(backend: "abc") == [device])
    #expect(sysfs.inFlight(device)?.writes == 2)
    #expect(sysfs.statistics(device)?.bytesRead == 8192)
    #expect(sysfs.statistics(device)?.bytesWritten == 12288)
    #expect(sysfs.statistics(device)?.flushes == 9)
    #expect(sysfs.partitions(device) == ["nbd0p1": FileFacts.Device(major: 43, minor: 1)])
    #expect(sysfs.holders(device).sorted() == ["dm-3", "md0"])
    #expect(try sysfs.setLargestRequest(device, kibibytes: 1024) == 512)
    #expect(sysfs.queueLimit(device, "max_sectors_kb") == 512)
    #expect(!Sysfs(root: "/nonexistent").hasDriver)
  }

  @Test func waitingForTheEndIsBounded() throws {
    let sysfs = sysfs()
    try sysfs.waitUntilGone(DeviceIndex(10), until: .after(seconds: 0))
    #expect { try sysfs.waitUntilGone(DeviceIndex(0), until: .after(seconds: 0.02)) } throws: {
      ($0 as? KernelError)?.kind == .timedOut
    }
    let pid = scratch.path + "/block/nbd0/pid"
    try spawnDetachedThread(name: "test") {
      sleep(seconds: 0.02)
      unlink(pid)
    }
    try sysfs.waitUntilGone(DeviceIndex(0), until: .after(seconds: 10))
  }

  @Test func everyUseIsFound() throws {
    let sysfs = sysfs()
    let own = getpid()
    let mounts = """
      21 1 43:0 / / rw shared:1 - ext4 /dev/nbd0 rw
      22 21 43:1 / /srv/a\\040b rw,relatime - xfs /dev/nbd0p1 rw
      23 21 0:50 / /btrfs rw - btrfs /dev/nbd0 rw
      24 21 8:1 / /home rw - ext4 /dev/sda1 rw
      broken line
      """
    _ = scratch.file("proc/\(own)/mountinfo", mounts)
    let elsewhere = "90 1 43:1 / /other rw - xfs /dev/nbd0p1 rw\n"
    _ = scratch.file("proc/501/mountinfo", elsewhere)
    _ = scratch.file("proc/502/mountinfo", elsewhere)
    for (process, namespace) in [(own, 1), (501, 2), (502, 2)] {
      let directory = scratch.path + "/proc/\(process)/ns"
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true)
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/mnt", withDestinationPath: "mnt:[\(namespace)]")
    }
    for (process, target) in [(601, "/dev/nbd0p1"), (602, "/dev/nbd1"), (603, "/dev/nbd0")] {
      _ = scratch.file("proc/\(process)/comm", "fio\n")
      let directory = scratch.path + "/proc/\(process)/fd"
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true)
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/3", withDestinationPath: target)
    }
    _ = scratch.file(
      "proc/swaps", "Filename Type Size Used Priority\n/dev/nbd0p1 partition 1 0 -2\n")
    let use = DeviceUse(sysfs: sysfs, proc: scratch.path + "/proc")
    let found = use.holders(of: DeviceIndex(0), ignoring: [603]).map(\.description)
    #expect(
      found == [
        "nbd0 is mounted on /", "nbd0p1 is mounted on /srv/a b", "nbd0 is mounted on /btrfs",
        "nbd0p1 is mounted on /other in the mount namespace of process 501",
        "nbd0p1 is in use as swap", "it is part of md0", "it is part of dm-3",
        "it is part of loop7", "it is open in process 601 (fio)",
      ])
    #expect(use.holders(of: DeviceIndex(10)).isEmpty)
  }

  @Test(arguments: [
    ("nbd0", UInt32(0)), ("/dev/nbd15", 15), ("nbd1048575", 1_048_575),
  ])
  func deviceNamesAreParsed(text: String, number: UInt32) {
    #expect(DeviceIndex(text)?.rawValue == number)
  }

  @Test(arguments: [
    "", "nbd", "nbd01", "nbd0p1", "/dev/sda", "/dev/nbd", "nbd-1", "nbd99999999999", "nbd 1",
    "nbd1048576", "/dev//nbd0", "dev/nbd0", "nbd٣",
  ])
  func otherNamesAreNot(text: String) { #expect(DeviceIndex(text) == nil) }

  @Test func blockSizesFollowTheKernel() {
    func most(_ release: String, huge: Bool = true) -> UInt32 {
      KernelSupport.maximumBlockSize(release: release, pageSize: 4096, hasHugePages: huge)
    }
    #expect(most("6.1.0-40-amd64") == 4096)
    #expect(most("6.14.9") == 4096)
    #expect(most("6.15-rc1") == 65536)
    #expect(most("7.1.0") == 65536)
    #expect(most("7.1.0", huge: false) == 4096)
    #expect(most("unknown") == 4096)
  }

  @Test func missingKernelTLSIsExplained() {
    #expect(KernelTLS.support(.noSuchFileOrDirectory, attaching: true) == .noModule)
    #expect(KernelTLS.support(.noSuchFileOrDirectory, attaching: false) == .noCipher)
    #expect(KernelTLS.support(.socketNotConnected, attaching: true) == .failed(.socketNotConnected))
  }

  @Test func cryptoInfoHasTheKernelsLayout() {
    let info = KernelTLS.cryptoInfo(
      .tls13, .aes128GCM, iv: [UInt8](repeating: 1, count: 8),
      key: [UInt8](repeating: 2, count: 16), salt: [UInt8](repeating: 3, count: 4),
      sequence: [UInt8](repeating: 4, count: 8))
    #expect(info?.count == 40)
    #expect(info?.suffix(13).first == 2)
    #expect(info?.suffix(12).first == 3)
    #expect(
      KernelTLS.cryptoInfo(.tls12, .chacha20Poly1305, iv: [], key: [], salt: [], sequence: [])
        == nil)
  }

  @Test func connectionsAreFoundInTheTable() throws {
    let table = """
        sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
         0: 0100007F:2A39 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1
         1: 0100007F:2A39 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 200 1
         2: 0100007F:2A39 0100007F:D432 08 00000000:00000000 00:00000000 00000000     0        0 300 1
      """
    func state(_ inode: UInt64) -> TCPConnection.State {
      let end = SocketAddress.ipv4(address: [127, 0, 0, 1], port: 1)
      return TCPConnection(local: end, peer: end, inode: inode).find(in: table)
    }
    #expect(state(200) == .established)
    #expect(state(300) == .closing)
    #expect(state(400) == .gone)
  }

  @Test func ownConnectionIsFollowed() throws {
    let deadline = Deadline.after(seconds: 5)
    let listener = try listenTCP(at: .ipv4(address: [127, 0, 0, 1], port: 0))
    let recorded: TCPConnection
    do {
      let client = try connectStream(to: .local(of: listener.raw), deadline: deadline)
      recorded = try TCPConnection(of: client.raw)
      #expect(try recorded.state() == .established)
    }
    #expect(try recorded.state() == .gone)
    let odd = TCPConnection(local: .unix(path: "/a"), peer: .unix(path: "/a"), inode: 1)
    #expect(try odd.state() == .gone)
  }

  @Test func missingModprobeIsQuiet() {
    let setting = scratch.file("modprobe", "/nonexistent/modprobe\n")
    #expect(!KernelModules(settingPath: setting).load("nbd"))
    let content = scratch.file("other", "/bin/true\n")
    #expect(KernelModules(settingPath: content).load("nbd"))
  }
}
