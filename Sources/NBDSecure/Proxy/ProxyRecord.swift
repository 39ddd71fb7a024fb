// SPDX-License-Identifier: Apache-2.0
import LinuxIO

/// What a proxy remembers of its link, for its log.
final class ProxyRecord: LinkRecord {
  let subject: String
  let server: String
  private var lostAt: UInt64 = 0
  /// Why there is no link at present.
  private(set) var lastError: String?

  init(path: String, server: String) {
    subject = path
    self.server = server
  }

  func linkLost(_ why: String) {
    lostAt = monotonicNanoseconds()
    lastError = why
  }

  func linkFailed() {}

  func attemptFailed(_ why: String) -> Bool {
    defer { lastError = why }
    return lastError != why
  }

  func reconnected(_ connection: Connection) -> UInt64 {
    lastError = nil
    return (monotonicNanoseconds() - lostAt) / 1_000_000
  }
}
