// SPDX-License-Identifier: Apache-2.0
internal import Glibc
internal import LinuxIO
internal import SystemPackage

/// What this kernel can do for us, and what of it we may use.
package enum KernelSupport {
  /// The release, such as "6.1.0-40-amd64".
  package static var release: String {
    (try? readLine("/proc/sys/kernel/osrelease")) ?? "unknown"
  }

  /// The leading numbers of a release, 0 where there is none.
  static func version(_ release: String) -> (major: Int, minor: Int) {
    let parts = release.split(separator: ".", maxSplits: 2)
    func number(_ place: Int) -> Int {
      parts.count > place ? Int(parts[place].prefix { $0.isASCII && $0.isNumber }) ?? 0 : 0
    }
    return (number(0), number(1))
  }

  /// The largest logical block size of a block device in bytes.
  package static var maximumBlockSize: UInt32 {
    let huge = (try? FileFacts(path: "/sys/kernel/mm/transparent_hugepage")) != nil
    return maximumBlockSize(
      release: release, pageSize: UInt32(clamping: ThisProcess.pageSize), hasHugePages: huge)
  }

  /// Up to 6.14 a block fits in a page; from then on blocks of 64 KiB where there are huge pages
  /// (blk_validate_block_size in linux/blkdev.h).
  static func maximumBlockSize(release: String, pageSize: UInt32, hasHugePages: Bool) -> UInt32 {
    version(release) >= (6, 15) && hasHugePages ? max(pageSize, 65536) : pageSize
  }

  /// Whether sysfs shows the backend identifier of a device that has one (Linux 5.14).
  package static var showsBackends: Bool { version(release) >= (5, 14) }

  /// Whether the driver is there. Does not load it.
  package static var hasDriver: Bool { Sysfs().hasDriver }

  /// Whether the driver can be reached over netlink; the reason where not. Loads the driver.
  package static var netlink: Result<Void, KernelError> {
    do throws(KernelError) {
      _ = try NBDNetlink()
      return .success(())
    } catch {
      return .failure(error)
    }
  }

  /// Whether we may connect devices (CAP_SYS_ADMIN).
  package static var mayConnect: Bool { ThisProcess.hasCapability(21) }

  /// Whether we may become an I/O flusher and lower our OOM score (CAP_SYS_RESOURCE).
  package static var mayFlush: Bool { ThisProcess.hasCapability(24) }

  /// Whether we may lock so many bytes of memory (CAP_IPC_LOCK, or RLIMIT_MEMLOCK).
  package static func mayLock(bytes: UInt64) -> Bool {
    ThisProcess.hasCapability(14) || ThisProcess.lockedMemoryLimit >= bytes
  }

  /// Every combination of version and cipher, probed.
  package static func kernelTLS() -> [(KernelTLS.Version, KernelTLS.Cipher, KernelTLS.Support)] {
    var table: [(KernelTLS.Version, KernelTLS.Cipher, KernelTLS.Support)] = []
    for version in KernelTLS.Version.allCases {
      for cipher in KernelTLS.Cipher.allCases {
        table.append((version, cipher, KernelTLS.probe(version, cipher)))
      }
    }
    return table
  }
}
