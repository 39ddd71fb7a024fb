// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDKernel

/// The state of one attachment as its supervisor knows it, and its file.
final class StateStore: LinkRecord {
  private(set) var state: AttachmentState
  private let directory: StateDirectory
  private let log: EventLog
  private var lostAt: UInt64 = 0

  init(_ state: AttachmentState, in directory: StateDirectory, log: EventLog) {
    self.state = state
    self.directory = directory
    self.log = log
  }

  var device: String { "/dev/\(state.device)" }
  var subject: String { device }
  var server: String { state.server }

  /// Writes the file; a failure is logged, since the device works without it.
  func save() {
    do { try directory.write(state) } catch { log.write(.warning, error.summary) }
  }

  func remove() {
    // The device may have the next user already: its file is not ours to remove.
    if directory.read(state.device)?.pid == state.pid { directory.remove(state.device) }
    if state.name != nil { DeviceLink.changed(state.device) }
  }

  func linkLost(_ why: String) {
    lostAt = monotonicNanoseconds()
    state.link = .reconnecting
    state.since = secondsSince1970()
    state.attempts = 0
    state.lastError = why
    save()
  }

  /// Notes that no process stays.
  func becomeUnsupervised() {
    state.link = .unsupervised
    save()
  }

  /// Notes which connections the kernel has; none when it keeps those that it had.
  func note(sockets: [Int32]) {
    guard !sockets.isEmpty else { return }
    state.sockets = sockets.compactMap { try? TCPConnection(of: $0) }.map(RecordedSocket.init)
  }

  func linkFailed() {
    state.link = .failed
    save()
  }

  /// Notes a failed attempt; whether its reason is another than the last one's.
  func attemptFailed(_ why: String) -> Bool {
    let isNews = state.lastError != why
    state.attempts += 1
    state.lastError = why
    save()
    return isNews
  }

  /// Notes a new connection; how long there was none, milliseconds.
  func reconnected(_ connection: Connection) -> UInt64 {
    state.link = .connected
    state.since = secondsSince1970()
    state.attempts = 0
    state.reconnections += 1
    state.address = "\(connection.address)"
    state.tls = connection.facts.map(TLSReport.init)
    save()
    return (monotonicNanoseconds() - lostAt) / 1_000_000
  }
}

func secondsSince1970() -> Int64 { Int64(time(nil)) }
