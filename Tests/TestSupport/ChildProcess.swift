// SPDX-License-Identifier: Apache-2.0
package import Foundation
import Synchronization

/// A program in the background, ended with its process group when the value goes away.
package final class ChildProcess: @unchecked Sendable {
  /// Process id, also that of its group and session.
  package let pid: pid_t
  /// Where its standard output and error go.
  package let logPath: String
  private let isOurs: Bool
  private let ending = Mutex<Outcome.Ending?>(nil)

  /// Starts a program. `inherited` become its descriptors 3, 4…
  package init(
    _ program: String, _ arguments: [String], environment: [String: String] = [:],
    directory: String? = nil, log: String, inherited: [Int32] = []
  ) throws {
    logPath = log
    isOurs = true
    pid = try withSpawning {
      let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
      let output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
      defer {
        close(null)
        close(output)
      }
      guard null >= 0, output >= 0 else { throw SystemError("open \(log)") }
      return try spawn(
        program, arguments, environment: environment, directory: directory,
        descriptors: [null, output, output] + inherited)
    }
    ProcessRegistry.add(pid)
  }

  /// Takes over a daemon that has left its starter, with the session it made for itself.
  init(adopting pid: pid_t, log: String) {
    self.pid = pid
    logPath = log
    isOurs = false
    ProcessRegistry.add(pid)
  }

  deinit { stop() }

  /// What it has written so far. Foundation's reading of a whole file leaks where the file was empty
  /// when it looked.
  package var log: String {
    let file = FileHandle(forReadingAtPath: logPath)
    defer { try? file?.close() }
    return (try? file?.readToEnd()).flatMap { $0 }.map { String(decoding: $0, as: UTF8.self) } ?? ""
  }

  /// True until it has ended.
  package var isRunning: Bool {
    ending.withLock { ending in
      if ending == nil { ending = isOurs ? reap(pid) : daemonEnding }
      return ending == nil
    }
  }

  /// Nobody tells how another's child ended: gone, or waiting for its parent, is ended.
  private var daemonEnding: Outcome.Ending? {
    [nil, "Z"].contains(state) ? .exited(0) : nil
  }

  /// The letter of its state (proc(5)); nil when it is gone.
  private var state: Character? {
    let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
    return text?.split(separator: ") ").last?.first
  }

  /// Sends a signal to the process alone, while it runs.
  package func signal(_ number: Int32) { if isRunning { kill(pid, number) } }

  /// Makes it stand still until it gets SIGCONT; whether it does.
  package func pause() -> Bool {
    signal(SIGSTOP)
    return eventually { state == "T" }
  }

  /// Waits for the end; nil when it is still running after that time, on a quiet machine.
  package func wait(timeout: Double) -> Outcome.Ending? {
    _ = eventually(within: timeout) { !isRunning }
    return ending.withLock { $0 }
  }

  /// Ends the process and what it started in its group: politely, then not.
  package func stop() {
    if isRunning {
      kill(pid, SIGCONT)
      kill(pid, SIGTERM)
      if !eventually(within: 2, patience: 1, { !isRunning }) {
        kill(pid, SIGKILL)
        _ = wait(timeout: 5)
      }
    }
    // Its children stay in the group after it has gone; an empty group is ESRCH.
    if ProcessRegistry.remove(pid) { kill(-pid, SIGKILL) }
  }
}

/// Every process group that the harness started and has not ended yet: killed when the tests exit.
enum ProcessRegistry {
  private static let groups = Mutex<Set<pid_t>>([])
  private static let atExit: Void = { _ = atexit { ProcessRegistry.killAll() } }()

  static func add(_ pid: pid_t) {
    _ = atExit
    groups.withLock { _ = $0.insert(pid) }
  }

  @discardableResult
  static func remove(_ pid: pid_t) -> Bool { groups.withLock { $0.remove(pid) != nil } }

  private static func killAll() {
    for pid in groups.withLock({ $0 }) { kill(-pid, SIGKILL) }
  }
}
