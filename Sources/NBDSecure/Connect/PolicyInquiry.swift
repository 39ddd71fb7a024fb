// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol

/// What policy says about an attachment that nobody has tried yet.
public struct PolicyReport: Encodable, Sendable, Hashable {
  /// Which rule of which file decides, and why.
  public let explanation: PolicyExplanation
  /// What policy could not be told, one line each: a name that cannot be looked up, credentials
  /// that cannot be read.
  public let unknown: [String]

  /// The error with which the attachment would be refused; nil if policy allows it.
  public var failure: NBDSecureError? { explanation.refusal.map(NBDSecureError.init) }

  private enum Key: CodingKey { case unknown }

  public func encode(to encoder: any Encoder) throws {
    try explanation.encode(to: encoder)
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(unknown, forKey: .unknown)
  }
}

/// Asks policy about attachments without connecting anywhere. Names are looked up and credentials
/// loaded as for a connection, where they can be.
public enum PolicyInquiry {
  /// The effective policy: the host's files and `files`.
  ///
  /// - Throws: `NBDSecureError` with `.forbidden` for files that cannot be used.
  public static func describe(files: [String]) throws(NBDSecureError) -> PolicyDescription {
    try PolicySet(reading: files.map(absolutePath)).describe()
  }

  /// What policy says to an attachment, before the connection.
  ///
  /// - Throws: `NBDSecureError` with `.forbidden` for files that cannot be used, `.usage` for an
  ///   export's name that is none.
  public static func explain(_ request: AttachRequest) throws(NBDSecureError) -> PolicyReport {
    try inquire(request).report
  }

  /// The same, with the reason why addresses are not known.
  static func inquire(
    _ request: AttachRequest
  ) throws(NBDSecureError) -> (report: PolicyReport, addressFailure: NBDSecureError?) {
    let connection = request.connection
    let policy = try PolicySet(reading: connection.policyFiles)
    let name = try connection.endpoint.exportName()
    var unknown: [String] = []
    var credentials: LoadedCredentials?
    do throws(NBDSecureError) { credentials = try LoadedCredentials(connection) { _ in } } catch {
      unknown.append("credentials cannot be used: \(error.summary)")
    }
    var addresses: [SocketAddress] = []
    var addressFailure: NBDSecureError?
    do throws(NBDSecureError) {
      addresses = try connection.addresses(by: .after(seconds: connection.connectTimeout))
    } catch {
      unknown.append("address not known: \(error.summary)")
      addressFailure = error
    }
    let question = PolicyQuestion(
      connection, use: ConnectionUse(request),
      channel: credentials?.policyChannel ?? connection.presumedChannel,
      identity: credentials.map { $0.tls?.identity } ?? connection.presumedIdentity,
      addresses: addresses, goal: .attach(name))
    let report = PolicyReport(explanation: policy.explain(question), unknown: unknown)
    return (report, addressFailure)
  }
}

extension PolicySet {
  /// The host's files and `extra`.
  ///
  /// - Throws: `NBDSecureError` with `.forbidden` for files that cannot be used.
  init(reading extra: [String]) throws(NBDSecureError) {
    do { self = try PolicySet.load(extra: extra) } catch { throw NBDSecureError(error) }
  }
}
