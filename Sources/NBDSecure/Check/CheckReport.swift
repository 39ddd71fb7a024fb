// SPDX-License-Identifier: Apache-2.0
import LinuxIO

/// What an attachment would come to, and why, before anybody tries it.
public struct CheckReport: Encodable, Sendable {
  /// What a finding is about, in the order in which an attachment meets it.
  public enum Area: String, Encodable, Sendable, CaseIterable {
    case kernel, credentials, policy, server, device
  }

  /// How a finding looks at an attachment.
  public enum Mark: String, Encodable, Sendable {
    case ok
    /// Good to know.
    case note
    /// An attachment works, and somebody should care.
    case warning
    /// An attachment would fail of it.
    case failed
  }

  /// One line.
  public struct Finding: Encodable, Sendable, Hashable {
    public let area: Area
    public let mark: Mark
    public let text: String
    /// What to do about it.
    public let hint: String?
  }

  /// A reason for which an attachment would fail.
  public struct Failure: Encodable, Sendable, Hashable {
    public let code: NBDSecureError.Code
    public let summary: String
    public let hint: String?
  }

  /// Server and export, where they were named.
  public internal(set) var endpoint: String?
  /// Line by line.
  public internal(set) var findings: [Finding] = []
  /// Why an attachment would fail; empty when it would work.
  public internal(set) var failures: [Failure] = []
  public internal(set) var kernel: KernelReport?
  public internal(set) var credentials: CredentialReport?
  /// The policy files.
  public internal(set) var policy: PolicyDescription?
  /// What policy says before the connection.
  public internal(set) var verdict: PolicyExplanation?
  /// What policy says with what the handshake proved.
  public internal(set) var verdictWithProof: PolicyExplanation?
  /// What the handshake proved.
  public internal(set) var tls: TLSReport?
  public internal(set) var export: ExportReport?
  public internal(set) var device: DeviceReport?

  /// Whether it was root who asked. What attaching takes root for is otherwise only warned of.
  public let isRoot = ThisProcess.effectiveUser == 0

  /// The error that an attachment would end with: the first that it meets.
  public var failure: Failure? { failures.first }

  /// The device that there would be.
  public struct DeviceReport: Encodable, Sendable, Hashable {
    /// Bytes.
    public let size: UInt64
    /// Bytes.
    public let blockSize: UInt32
    public let readOnly: Bool
    /// "relay" or "ktls".
    public let dataPath: String
  }
}

extension NBDSecureError.Code: Encodable {}

// MARK: Taking notes

extension CheckReport {
  mutating func note(_ area: Area, _ mark: Mark, _ text: String, hint: String? = nil) {
    findings.append(Finding(area: area, mark: mark, text: text, hint: hint))
  }

  /// Notes why an attachment would fail.
  mutating func fail(_ area: Area, _ error: NBDSecureError) {
    note(area, .failed, error.summary, hint: error.hint)
    failures.append(Failure(error))
  }

  func failed(_ area: Area) -> Bool {
    findings.contains { $0.area == area && $0.mark == .failed }
  }
}

extension CheckReport.Failure {
  init(_ error: NBDSecureError) {
    self.init(code: error.code, summary: error.summary, hint: error.hint)
  }
}
