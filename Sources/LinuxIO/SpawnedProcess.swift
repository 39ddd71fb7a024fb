// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
package import SystemPackage

/// A program that we started.
package struct SpawnedProcess: ~Copyable, Sendable {
  /// How it ended.
  package enum Ending: Hashable, Sendable {
    case exited(Int32)
    case killed(signal: Int32)
  }

  /// Its process number, ours to use until `wait` has returned.
  package let identifier: Int32
  /// A pidfd: readable when the program has ended.
  package let descriptor: Descriptor

  /// Starts the program at `path` (no search), called `name`, or by its path where there is none.
  /// `descriptors` maps numbers in the program to ours; everything else is closed in it, its
  /// signals are as at a login. `newSession` is setsid(2).
  package init(
    path: String, name: String? = nil, arguments: [String], environment: [String],
    descriptors: [Int32: Int32], newSession: Bool = false
  ) throws(Errno) {
    let pid = try Self.start(
      path: path, name: name ?? path, arguments: arguments, environment: environment,
      descriptors: descriptors, newSession: newSession)
    let handle = clinux_pidfd_open(pid)
    guard handle >= 0 else {
      let error = lastErrno()
      _ = kill(pid, SIGKILL)
      _ = clinux_wait(pid, 0)
      throw error
    }
    identifier = pid
    descriptor = Descriptor(owning: handle)
  }

  private static func start(
    path: String, name: String, arguments: [String], environment: [String],
    descriptors: [Int32: Int32], newSession: Bool
  ) throws(Errno) -> Int32 {
    let firstClosed = max((descriptors.keys.max() ?? 2) + 1, 3)
    // Sources are moved out of the way first: a target may be another mapping's source.
    var sources: [Int32] = []
    defer { for source in sources { _ = Glibc.close(source) } }
    let targets = descriptors.keys.sorted()
    for target in targets {
      sources.append(try check(clinux_duplicate(descriptors[target] ?? -1, firstClosed)))
    }
    let argv = CStrings([name] + arguments)
    let environment = CStrings(environment)
    var pid: pid_t = 0
    let failed = withExtendedLifetime((argv, environment)) {
      unsafe clinux_spawn(
        &pid, path, argv.pointers, environment.pointers, sources, targets, targets.count,
        firstClosed, newSession ? 1 : 0)
    }
    guard failed == 0 else { throw Errno(rawValue: failed) }
    return pid
  }

  /// Sends a signal; one that has ended already is no error.
  package borrowing func signal(_ number: Int32) {
    _ = clinux_pidfd_send(descriptor.raw, number)
  }

  /// Waits for the end. Throws `timedOut` at the deadline; the program then goes on.
  package borrowing func wait(until deadline: Deadline) throws(Errno) -> Ending {
    try LinuxIO.wait(descriptor, for: .read, until: deadline)
    let status = try check(clinux_wait(identifier, 0))
    return status >= 256 ? .killed(signal: status - 256) : .exited(status)
  }
}

/// A NULL-terminated array of C strings.
@safe
private final class CStrings {
  let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  private let count: Int

  init(_ strings: [String]) {
    count = strings.count
    unsafe pointers = .allocate(capacity: strings.count + 1)
    for place in strings.indices {
      unsafe (pointers + place).initialize(to: strdup(strings[place]))
    }
    unsafe (pointers + strings.count).initialize(to: nil)
  }

  deinit {
    for place in 0..<count { unsafe free(pointers[place]) }
    unsafe pointers.deallocate()
  }
}
