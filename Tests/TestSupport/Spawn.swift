// SPDX-License-Identifier: Apache-2.0
import CTestSupport
import Foundation
import Synchronization

/// What the harness passes to every program unless told otherwise: nothing of the caller's settings.
package let cleanEnvironment: [String: String] = [
  "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  "LC_ALL": "C.UTF-8",
  // Neither the runner's home nor anybody's credentials in it are seen by the programs under test.
  "HOME": "/nonexistent",
  "XDG_CONFIG_HOME": "/nonexistent",
]

/// What scripts/test-sanitized sets is for programs under test, too.
private let sanitizerEnvironment = ProcessInfo.processInfo.environment.filter {
  ["ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"].contains($0.key)
}

/// The absolute path of a program. A tool that is missing is an error, never a reason to skip.
package func locate(_ program: String) throws -> String {
  if program.contains("/") { return program }
  for directory in cleanEnvironment["PATH", default: ""].split(separator: ":") {
    let path = "\(directory)/\(program)"
    if access(path, X_OK) == 0 { return path }
  }
  throw SystemError(program, because: "not installed; scripts/install-deps installs it")
}

/// One at a time has descriptors that are meant for a child: another's, begun meanwhile, would have
/// them, too, until its program runs.
private let spawning = Mutex(())

/// Makes descriptors for a child, starts it and closes them, while nobody else does so.
func withSpawning<Made>(_ body: () throws -> Made) throws -> Made {
  try spawning.withLock { _ in try body() }
}

/// Starts a program in a session of its own with the given descriptors as its 0, 1, 2, 3…
/// and no others. Returns its process id.
func spawn(
  _ program: String, _ arguments: [String], environment: [String: String], directory: String?,
  descriptors: [Int32]
) throws -> pid_t {
  let path = try locate(program)
  let values = cleanEnvironment.merging(sanitizerEnvironment) { $1 }.merging(environment) { $1 }
  let argv = ([path] + arguments).map { strdup($0) } + [nil]
  let envp = values.map { strdup("\($0.key)=\($0.value)") } + [nil]
  defer { for text in argv + envp { free(text) } }
  var pid: pid_t = 0
  let error = tests_spawn(
    &pid, path, argv, envp, directory, descriptors, Int32(descriptors.count))
  guard error == 0 else {
    errno = error
    throw SystemError("start \(path)")
  }
  return pid
}

/// A pipe, both ends close-on-exec.
func makePipe() throws -> (read: Int32, write: Int32) {
  var ends: [Int32] = [0, 0]
  guard tests_pipe(&ends) == 0 else { throw SystemError("pipe2") }
  return (ends[0], ends[1])
}

/// Seconds on the monotonic clock.
package func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// How many times longer than on a quiet machine anything may take: guests and other tests share the
/// processors, and a process may stand still for seconds. Promptness is told from hanging, no more.
package let patience = 5.0

/// Polls `condition` until it holds or the time is over, so long on a quiet machine; false when it
/// never did. A machine that stands still takes nothing of that time.
package func eventually(
  within seconds: Double = 10, patience: Double = patience, _ condition: () throws -> Bool
) rethrows -> Bool {
  var end = now() + seconds * patience
  while true {
    let isLast = now() > end
    if try condition() { return true }
    if isLast { return false }
    let before = now()
    usleep(5000)
    end += max(0, now() - before - 0.1)
  }
}
