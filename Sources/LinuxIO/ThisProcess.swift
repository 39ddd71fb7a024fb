// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// What the process asks of the kernel for itself.
package enum ThisProcess {
  /// Our process number.
  package static var identifier: Int32 { getpid() }

  /// The user whose rights we have; 0 is root.
  package static var effectiveUser: UInt32 { geteuid() }

  /// The page size in bytes.
  package static var pageSize: Int { sysconf(Int32(_SC_PAGESIZE)) }

  /// PR_SET_DUMPABLE off: no core dump, no ptrace, /proc files owned by root.
  package static func disableDumping() throws(Errno) {
    try check(clinux_prctl(PR_SET_DUMPABLE, 0))
  }

  /// RLIMIT_CORE 0, for ourselves and for what we start.
  package static func disableCoreFiles() throws(Errno) { try check(clinux_limit_core_to_zero()) }

  /// PR_SET_IO_FLUSHER: our allocations do not wait for write-back through our own device. Needs
  /// CAP_SYS_RESOURCE, and covers only this thread and those started later, so it comes first.
  package static func becomeIOFlusher() throws(Errno) {
    try check(clinux_prctl(PR_SET_IO_FLUSHER, 1))
  }

  /// Whether PR_SET_IO_FLUSHER is on; throws where the right is missing.
  package static func isIOFlusher() throws(Errno) -> Bool {
    try check(clinux_prctl_get(PR_GET_IO_FLUSHER)) > 0
  }

  /// PR_SET_NO_NEW_PRIVS: nothing that we start gains rights.
  package static func forbidNewPrivileges() throws(Errno) {
    try check(clinux_prctl(PR_SET_NO_NEW_PRIVS, 1))
  }

  /// The name in /proc/PID/comm, cut to 15 bytes.
  package static func setName(_ name: String) { _ = unsafe clinux_set_name(name) }

  /// Has memory for large blocks given back as soon as it is not needed. malloc would soon take them
  /// from its arenas, which keep their size: where memory is locked, that much is lost to the host.
  package static func giveBackLargeBlocks() { _ = clinux_map_large_blocks() }

  /// Locks all memory, present and future. Fails with `noMemory` or `notPermitted` where
  /// RLIMIT_MEMLOCK is too low and CAP_IPC_LOCK is missing.
  package static func lockMemory() throws(Errno) {
    try check(mlockall(Int32(MCL_CURRENT) | Int32(MCL_FUTURE)))
  }

  /// /proc/self/oom_score_adj, -1000 (never killed) to 1000. Lowering it needs CAP_SYS_RESOURCE.
  package static func setOOMScoreAdjustment(_ value: Int) throws(Errno) {
    try writeExisting("/proc/self/oom_score_adj", String(value))
  }

  /// Whether a capability is effective, by its number in linux/capability.h.
  package static func hasCapability(_ number: Int) -> Bool {
    guard let status = try? readFile("/proc/self/status", limit: 1 << 16) else { return false }
    let lines = String(decoding: status.bytes, as: UTF8.self).split(separator: "\n")
    guard let line = lines.first(where: { $0.hasPrefix("CapEff:") }),
      let set = UInt64(line.dropFirst("CapEff:".count).drop { $0 == "\t" || $0 == " " }, radix: 16)
    else { return false }
    return number >= 0 && number < 64 && set & (1 << UInt64(number)) != 0
  }

  /// RLIMIT_MEMLOCK in bytes, the maximum for none.
  package static var lockedMemoryLimit: UInt64 {
    var bytes: UInt64 = 0
    return unsafe clinux_locked_memory_limit(&bytes) == 0 ? bytes : 0
  }

  /// Makes writes to a closed socket or pipe return EPIPE.
  package static func ignoreBrokenPipes() { _ = signal(SIGPIPE, SIG_IGN) }

  /// The value of an environment variable.
  package static func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  /// All of the environment as NAME=VALUE.
  package static var environment: [String] {
    var list: [String] = []
    var next = unsafe environ
    while let entry = unsafe next.pointee {
      list.append(unsafe String(cString: entry))
      unsafe next += 1
    }
    return list
  }
}
