// SPDX-License-Identifier: Apache-2.0

/// What went wrong, in terms of who must act, with one line that says it and one that says what
/// to do.
public struct NBDSecureError: Error, Sendable, CustomStringConvertible {
  /// Who must act. The command turns each into one exit status.
  public enum Code: String, Sendable, Hashable, CaseIterable {
    /// The call itself is wrong: an option, a URI, a combination of them.
    case usage
    /// Credentials are missing, unreadable, unsafe or inconsistent.
    case credentials
    /// The host name does not exist.
    case unknownHost
    /// The server cannot be reached, or it refused the export.
    case unavailable
    /// The kernel refused: no driver, device busy, no right.
    case kernel
    /// Input or output failed on an established connection.
    case io
    /// A deadline passed.
    case timedOut
    /// The server broke the protocol.
    case protocolViolation
    /// An identity was not proven: the server's to us, or ours to the server.
    case identity
    /// Policy, or a missing permission for plaintext, forbids it; or policy is malformed.
    case forbidden
    /// Anything not listed.
    case other
  }

  /// Who must act.
  public let code: Code
  /// What failed and why, one line, naming the file, host, export or option concerned.
  public let summary: String
  /// What to do, one line.
  public let hint: String?
  /// The lower layer's error, where there is one.
  public let underlying: (any Error)?

  /// Makes an error from its parts.
  public init(
    _ code: Code, _ summary: String, hint: String? = nil, underlying: (any Error)? = nil
  ) {
    self.code = code
    self.summary = summary
    self.hint = hint
    self.underlying = underlying
  }

  public var description: String { summary }
}
