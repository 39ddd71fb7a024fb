// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import SystemPackage

/// What a process that stands behind a block device asks of the kernel.
package enum Privileges {
  /// Keeps secrets out of core dumps; first thing in every command.
  package static func protectSecrets() {
    // Both only fail where a sandbox forbids them; nothing depends on them but the protection.
    try? ThisProcess.disableDumping()
    try? ThisProcess.disableCoreFiles()
    ThisProcess.ignoreBrokenPipes()
  }

  /// Makes memory reclaim never wait for this process; each right that is lacking is warned of.
  /// Before any thread is started: IO_FLUSHER is a thread's, and inherited.
  static func protectDataPath(warn: (String) -> Void) {
    attempt("PR_SET_IO_FLUSHER", needs: "CAP_SYS_RESOURCE", warn) { () throws(Errno) in
      try ThisProcess.becomeIOFlusher()
    }
    attempt("protection from the OOM killer", needs: "CAP_SYS_RESOURCE", warn) {
      () throws(Errno) in
      try ThisProcess.setOOMScoreAdjustment(-1000)
    }
    ThisProcess.giveBackLargeBlocks()
    attempt("locked memory", needs: "CAP_IPC_LOCK or a higher RLIMIT_MEMLOCK", warn) {
      () throws(Errno) in
      try ThisProcess.lockMemory()
    }
  }

  private static func attempt(
    _ what: String, needs: String, _ warn: (String) -> Void, _ body: () throws(Errno) -> Void
  ) {
    do { try body() } catch {
      warn("no \(what) (\(error)): under memory pressure the device may stall; it needs \(needs)")
    }
  }
}
