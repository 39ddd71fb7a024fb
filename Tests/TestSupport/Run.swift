// SPDX-License-Identifier: Apache-2.0
import Foundation

/// How a program ended and what it said.
package struct Outcome: Sendable, CustomStringConvertible {
  /// The way a program can end.
  package enum Ending: Sendable, Equatable {
    case exited(Int32)
    case signalled(Int32)
    /// It was still running when its time was over, and was killed.
    case timedOut
  }
  /// How the program ended.
  package let ending: Ending
  /// All of standard output.
  package let stdout: String
  /// All of standard error.
  package let stderr: String
  /// Wall-clock time from the start to the end.
  package let seconds: Double
  /// False when something still held the standard streams seconds after the program had ended.
  package let streamsReleased: Bool

  /// The exit status; -1 when the program did not exit by itself.
  package var status: Int32 { if case .exited(let code) = ending { code } else { -1 } }

  /// Lines of standard error.
  package var errorLines: [String] {
    stderr.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      .dropLast(stderr.hasSuffix("\n") || stderr.isEmpty ? 1 : 0)
  }

  package var description: String {
    "\(ending) after \(String(format: "%.2f", seconds)) s\nstdout: \(stdout)\nstderr: \(stderr)"
  }
}

/// Runs a program to its end and captures what it writes. Everything that it left in its session's
/// process group is killed when its time is over.
package func run(
  _ program: String, _ arguments: [String] = [], environment: [String: String] = [:],
  directory: String? = nil, input: [UInt8] = [], timeout: Double = 30 * patience
) throws -> Outcome {
  let begin = now()
  let (pid, ends) = try withSpawning {
    let output = try makePipe()
    let errors = try makePipe()
    let feed = try makePipe()
    defer { for end in [feed.read, output.write, errors.write] { close(end) } }
    do {
      let pid = try spawn(
        program, arguments, environment: environment, directory: directory,
        descriptors: [feed.read, output.write, errors.write])
      return (pid, (feed: feed.write, output: output.read, errors: errors.read))
    } catch {
      for end in [feed.write, output.read, errors.read] { close(end) }
      throw error
    }
  }
  ProcessRegistry.add(pid)
  var stdin = Feed(descriptor: ends.feed, rest: input[...])
  var stdout = Drain(descriptor: ends.output)
  var stderr = Drain(descriptor: ends.errors)
  defer {
    stdin.finish()
    stdout.finish()
    stderr.finish()
  }

  var ending: Outcome.Ending?
  var ended = begin
  while ending == nil || stdout.isOpen || stderr.isOpen {
    var watched = [
      pollfd(fd: stdin.descriptor, events: Int16(POLLOUT), revents: 0),
      pollfd(fd: stdout.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: stderr.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    poll(&watched, 3, ending == nil ? 5 : 20)
    if watched[0].revents != 0 { stdin.step() }
    if watched[1].revents != 0 { stdout.step() }
    if watched[2].revents != 0 { stderr.step() }
    if ending == nil {
      if let seen = reap(pid) {
        ending = seen
        ended = now()
      } else if now() - begin > timeout {
        kill(-pid, SIGKILL)
        _ = eventually(within: 5) { reap(pid) != nil }
        ending = .timedOut
        ended = now()
      }
    } else if now() - ended > patience, watched.allSatisfy({ $0.revents == 0 }) {
      // There was time, and nothing came.
      break
    }
  }
  ProcessRegistry.remove(pid)
  return Outcome(
    ending: ending ?? .timedOut, stdout: stdout.text, stderr: stderr.text, seconds: ended - begin,
    streamsReleased: !stdout.isOpen && !stderr.isOpen)
}

/// Collects a child's ending without waiting; nil while it runs.
func reap(_ pid: pid_t) -> Outcome.Ending? {
  var status: Int32 = 0
  guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
  return status & 0x7f == 0 ? .exited((status >> 8) & 0xff) : .signalled(status & 0x7f)
}

private struct Drain {
  var descriptor: Int32
  var bytes: [UInt8] = []

  init(descriptor: Int32) { self.descriptor = descriptor }
  var isOpen: Bool { descriptor >= 0 }
  var text: String { String(decoding: bytes, as: UTF8.self) }

  mutating func step() {
    var buffer = [UInt8](repeating: 0, count: 65536)
    let count = read(descriptor, &buffer, buffer.count)
    if count > 0 { bytes += buffer[..<count] } else { finish() }
  }

  mutating func finish() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
  }
}

private struct Feed {
  var descriptor: Int32
  var rest: ArraySlice<UInt8>

  init(descriptor: Int32, rest: ArraySlice<UInt8>) {
    self.descriptor = descriptor
    self.rest = rest
    signal(SIGPIPE, SIG_IGN)
    if rest.isEmpty { finish() }
  }

  mutating func step() {
    let count = rest.prefix(4096).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if count > 0 { rest = rest.dropFirst(count) }
    if count <= 0 || rest.isEmpty { finish() }
  }

  mutating func finish() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
  }
}
