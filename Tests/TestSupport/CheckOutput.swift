// SPDX-License-Identifier: Apache-2.0
import Foundation

/// What `check --json` prints, as far as the tests look.
package struct CheckOutput: Sendable {
  package struct Finding: Decodable, Sendable {
    package var area: String
    package var mark: String
    package var text: String
  }
  package struct Failure: Decodable, Sendable {
    package var code: String
    package var summary: String
    package var hint: String?
  }
  package struct Certificate: Decodable, Sendable {
    package var subject: String
    package var issuer: String
    package var daysLeft: Int
  }
  package struct File: Decodable, Sendable {
    package var role: String
    package var mode: String?
    package var certificates: [Certificate]
    package var keyType: String?
    package var chosenIdentity: String?
  }
  package struct Credentials: Decodable, Sendable {
    package var kind: String
    package var origin: String
    package var files: [File]
  }
  package struct KernelTLS: Decodable, Sendable { package var works: Bool }
  package struct Kernel: Decodable, Sendable { package var kernelTLS: [KernelTLS] }
  package struct PolicyFile: Decodable, Sendable { package var file: String }
  package struct Policy: Decodable, Sendable { package var files: [PolicyFile] }
  package struct Verdict: Decodable, Sendable { package var allowed: Bool }
  package struct TLS: Decodable, Sendable {
    package var authentication: String
    package var pin: String?
  }
  package struct Export: Decodable, Sendable { package var size: UInt64 }

  private struct Report: Decodable {
    var endpoint: String?
    var findings: [Finding]
    var failures: [Failure]
    var kernel: Kernel?
    var credentials: Credentials?
    var policy: Policy?
    var verdict: Verdict?
    var verdictWithProof: Verdict?
    var tls: TLS?
    var export: Export?
  }

  /// How the command ended, and all that it said.
  package let outcome: Outcome
  private let report: Report

  package init(_ outcome: Outcome) throws {
    self.outcome = outcome
    guard outcome.stderr.isEmpty else {
      throw SystemError("check --json", because: outcome.description)
    }
    report = try JSONDecoder().decode(Report.self, from: Data(outcome.stdout.utf8))
  }

  package var endpoint: String? { report.endpoint }
  package var findings: [Finding] { report.findings }
  package var failures: [Failure] { report.failures }
  package var kernel: Kernel? { report.kernel }
  package var credentials: Credentials? { report.credentials }
  package var policy: Policy? { report.policy }
  package var verdict: Verdict? { report.verdict }
  package var verdictWithProof: Verdict? { report.verdictWithProof }
  package var tls: TLS? { report.tls }
  package var export: Export? { report.export }

  /// The marks of an area's findings, in their order.
  package func marks(_ area: String) -> [String] {
    findings.filter { $0.area == area }.map(\.mark)
  }

  /// The status to expect where that of everything but this machine's kernel is known.
  package func expected(_ status: Int32) -> Int32 {
    failures.first?.code == "kernel" ? 71 : status
  }
}
