// SPDX-License-Identifier: Apache-2.0

extension PolicyFile {
  /// More rules than this are a generated file gone wrong.
  static let maximumRuleCount = 1000

  /// Parses one policy file. `canonical` gives a path of the file system as `realpath` does.
  init(
    parsing text: String, path: String, canonical: @escaping (String) -> String
  ) throws(PolicyError) {
    var root = try PolicyReader(parsing: text, file: path)
    self.init(path: path)
    let stated: PolicyAction? = try root.word("default")
    if var require = try root.table("require") {
      requirements = try PolicyRequirements(reading: &require, canonical: canonical)
      try require.finish(known: PolicyKey.allCases.map(\.rawValue))
    }
    let tables = try root.tables("rule")
    guard tables.count <= Self.maximumRuleCount else {
      throw root.error("rule", "more than \(Self.maximumRuleCount) rules")
    }
    for (index, table) in tables.enumerated() {
      rules.append(
        try PolicyRule(reading: table, number: index + 1, canonical: canonical))
    }
    try root.finish(known: ["default", "require", "rule"])
    // Whoever lists what is allowed seldom means "and everything else": let them say so.
    guard rules.isEmpty || stated != nil else {
      throw root.error(
        "default", "is missing: with rules, say what happens to the rest",
        hint: "default = \"deny\" or default = \"allow\", above the first table")
    }
    defaultAction = stated ?? .allow
  }
}

extension PolicyRule {
  static let matchKeys = ["host", "address", "unix", "vsock", "export"]

  init(
    reading table: PolicyReader, number: Int, canonical: @escaping (String) -> String
  ) throws(PolicyError) {
    var table = table
    let name = try table.string("name")
    if let name, name.isEmpty || name.utf8.count > 80 || !name.utf8.allSatisfy({ $0 >= 0x20 }) {
      throw table.error("name", "must be one line of 1 to 80 bytes")
    }
    guard let action: PolicyAction = try table.word("action") else {
      throw table.error("action", "is missing", hint: "action = \"allow\" or action = \"deny\"")
    }
    self.name = name
    self.action = action
    let place = name.map { "rule \(number) \"\($0)\"" } ?? "rule \(number)"
    source = PolicySource(file: table.file, place: place)
    hosts = try table.list("host", of: "host name patterns in ASCII") { PolicyHostPattern($0) }
    addresses = try table.list("address", of: "addresses or CIDR blocks") {
      PolicyAddressBlock($0)
    }
    unixPaths = try table.list("unix", of: "absolute paths, @names or *") {
      PolicySocketPattern($0, canonical: canonical)
    }
    vsock = try table.list("vsock", of: "context ids or \"*\"") { text in
      text == "*" ? .any : UInt32(text).map { .cid($0) }
    }
    exports = try table.list("export", of: "export name patterns") { PolicyGlob($0) }
    requirements = try PolicyRequirements(reading: &table, canonical: canonical)
    try table.finish(
      known: ["name", "action"] + Self.matchKeys + PolicyKey.allCases.map(\.rawValue))
    try checkSense(table)
  }

  private func checkSense(_ table: PolicyReader) throws(PolicyError) {
    let transports = [addresses != nil, unixPaths != nil, vsock != nil].count { $0 }
    if hosts == nil && transports == 0 && exports == nil {
      throw table.error(
        "action", "the rule matches nothing in particular",
        hint: "give \(Self.matchKeys.joined(separator: ", ")), or use default")
    }
    if action == .deny, let key = requirements.keys.first {
      throw table.error(key.rawValue, "means nothing in a rule that denies")
    }
    if action == .allow, transports > 1 {
      throw table.error(
        "action", "no connection has more than one of address, unix and vsock",
        hint: "write one rule for each")
    }
  }
}

extension PolicyRequirements {
  /// A century: longer is a slip, and sums of seconds stay far from overflow.
  static let maximumDays: Int64 = 36_500

  init(
    reading table: inout PolicyReader, canonical: @escaping (String) -> String
  ) throws(PolicyError) {
    func key(_ key: PolicyKey) -> String { key.rawValue }
    let path = { (text: String) -> PolicyPath? in
      text.hasPrefix("/") ? PolicyPath(text: text, resolved: canonical(text)) : nil
    }
    plaintext = try table.word(key(.plaintext))
    plaintextSockets = try table.list(key(.plaintextSockets), of: "absolute paths") {
      $0.hasPrefix("/") ? PolicyGlob($0, path: true) : nil
    }
    minimumVersion = try table.word(key(.tlsMinVersion))
    ciphers = try table.list(
      key(.ciphers), of: PolicyNames.ciphers.joined(separator: ", ")
    ) { Self.known($0, PolicyNames.ciphers) }
    groups = try table.list(
      key(.groups), of: PolicyNames.groups.joined(separator: ", ")
    ) { Self.known($0, PolicyNames.groups) }
    authentication = try table.list(key(.authentication), of: "x509, psk") {
      PolicyAuthentication(rawValue: $0)
    }
    clientCertificate = try table.boolean(key(.clientCertificate))
    crl = try table.boolean(key(.crl))
    crlMaxAgeDays = try table.integer(key(.crlMaxAgeDays), in: 1...Self.maximumDays)
    minRemainingDays = try table.integer(key(.minRemainingDays), in: 0...Self.maximumDays)
    pins = try table.list(key(.pins), of: "sha256: and 64 hexadecimal digits") {
      $0.hasPrefix("sha256:") ? PolicyPin($0) : nil
    }
    sameKey = try table.boolean(key(.sameKey))
    trustAnchors = try table.list(key(.trustAnchors), of: "absolute paths, or \"system\"") {
      $0 == "system" ? .system : path($0)
    }
    pskFiles = try table.list(key(.pskFiles), of: "absolute paths", path)
    readOnly = try table.boolean(key(.readOnly))
    dataPaths = try table.list(key(.dataPaths), of: "relay, ktls") {
      PolicyDataPath(rawValue: $0)
    }
    try checkSense(table)
  }

  private static func known(_ text: String, _ names: [String]) -> String? {
    let upper = text.uppercased()
    return names.contains(upper) ? upper : nil
  }

  /// Refuses combinations in which one key takes back what the other says.
  private func checkSense(_ table: PolicyReader) throws(PolicyError) {
    if plaintextSockets != nil, plaintext != .local {
      throw table.error(
        PolicyKey.plaintextSockets.rawValue, "means nothing without plaintext = \"local\"")
    }
    if crl == false, crlMaxAgeDays != nil {
      throw table.error(
        PolicyKey.crlMaxAgeDays.rawValue, "contradicts crl = false: it requires a list")
    }
    if let authentication, !authentication.contains(.psk), pskFiles != nil {
      throw table.error(PolicyKey.pskFiles.rawValue, "means nothing without authentication psk")
    }
    if let authentication, !authentication.contains(.x509), trustAnchors != nil {
      throw table.error(
        PolicyKey.trustAnchors.rawValue, "means nothing without authentication x509")
    }
  }
}
