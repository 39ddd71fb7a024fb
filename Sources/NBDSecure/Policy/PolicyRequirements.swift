// SPDX-License-Identifier: Apache-2.0

/// What `[require]` or a rule demands of a connection. Nil: nothing said about it here.
struct PolicyRequirements: Hashable, Sendable {
  var plaintext: PolicyPlaintext?
  var plaintextSockets: [PolicyGlob]?
  var minimumVersion: PolicyTLSVersion?
  var ciphers: [String]?
  var groups: [String]?
  var authentication: [PolicyAuthentication]?
  var clientCertificate: Bool?
  var crl: Bool?
  var crlMaxAgeDays: Int64?
  var minRemainingDays: Int64?
  var pins: [PolicyPin]?
  var sameKey: Bool?
  var trustAnchors: [PolicyPath]?
  var pskFiles: [PolicyPath]?
  var readOnly: Bool?
  var dataPaths: [PolicyDataPath]?

  /// The keys given, in the order they are shown.
  var keys: [PolicyKey] { PolicyKey.allCases.filter { texts(for: $0) != nil } }

  /// Demands that only a certificate can meet.
  private var demandsCertificate: Bool {
    clientCertificate == true || crl == true || crlMaxAgeDays != nil || minRemainingDays != nil
      || pins != nil || sameKey == true || trustAnchors != nil
  }

  private var demandsTLS: Bool {
    demandsCertificate || minimumVersion != nil || ciphers != nil || groups != nil
      || authentication != nil || pskFiles != nil
  }

  /// The key that requires revocation lists; nil where none does.
  var revocationKey: PolicyKey? {
    crl == true ? .crl : crlMaxAgeDays != nil ? .crlMaxAgeDays : nil
  }

  /// Where plaintext is permitted. Who demands anything of TLS demands TLS, unless plaintext is
  /// mentioned as well: otherwise `--allow-plaintext` would be the way round every demand.
  var effectivePlaintext: PolicyPlaintext { plaintext ?? (demandsTLS ? .never : .allowed) }

  /// The kinds permitted. Who demands what only a certificate has (or only a key file) demands
  /// that kind, unless `authentication` is mentioned as well: otherwise a key file of one's own
  /// would be the way round pins and trust anchors.
  var effectiveAuthentication: Set<PolicyAuthentication> {
    if let authentication { return Set(authentication) }
    switch (demandsCertificate, pskFiles != nil) {
    case (true, false): return [.x509]
    case (false, true): return [.psk]
    default: return Set(PolicyAuthentication.allCases)
    }
  }

  /// The value of a key as `policy show` prints it; nil where it is not given.
  func texts(for key: PolicyKey) -> [String]? {
    switch key {
    case .plaintext: plaintext.map { [$0.rawValue] }
    case .plaintextSockets: plaintextSockets?.map(\.text)
    case .tlsMinVersion: minimumVersion.map { [$0.rawValue] }
    case .ciphers: ciphers
    case .groups: groups
    case .authentication: authentication?.map(\.rawValue)
    case .clientCertificate: clientCertificate.map { ["\($0)"] }
    case .crl: crl.map { ["\($0)"] }
    case .crlMaxAgeDays: crlMaxAgeDays.map { ["\($0)"] }
    case .minRemainingDays: minRemainingDays.map { ["\($0)"] }
    case .pins: pins?.map(\.description)
    case .sameKey: sameKey.map { ["\($0)"] }
    case .trustAnchors: trustAnchors?.map(\.text)
    case .pskFiles: pskFiles?.map(\.text)
    case .readOnly: readOnly.map { ["\($0)"] }
    case .dataPaths: dataPaths?.map(\.rawValue)
    }
  }
}

/// A path in a policy file: as written, and after `realpath` at the time the file was read.
struct PolicyPath: Hashable, Sendable {
  /// In `trust-anchors`: the system's trust store.
  static let system = PolicyPath(text: "system", resolved: "system")

  let text: String
  let resolved: String
}

/// One part of one file that applies to a question.
struct PolicyBlock: Hashable, Sendable {
  let source: PolicySource
  let requirements: PolicyRequirements
}
