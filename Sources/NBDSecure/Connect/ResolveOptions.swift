// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol

extension ConnectionRequest {
  /// Checks what a user asked for. Looks at the file system only to find the default credentials
  /// and to tell an x509 directory from a PSK one.
  ///
  /// - Throws: `NBDSecureError`: `.usage` for options that are wrong or do not go together,
  ///   `.credentials` for a named directory that is missing or of no kind, `.forbidden` where
  ///   plaintext would be used and is not allowed.
  public init(_ options: ConnectionOptions) throws(NBDSecureError) {
    var options = options
    var scheme = Scheme.unspecified
    if let text = options.endpoint { scheme = try options.absorb(uri: text) }
    let endpoint = try options.resolvedEndpoint()
    let source = try options.credentialSource(scheme: scheme, server: endpoint.server)
    self.init(
      endpoint: endpoint, credentials: source.credentials, credentialOrigin: source.origin,
      tlsHostname: try options.tlsHostname.map { name throws(NBDSecureError) in
        try HostName.checked(name, option: "--tls-hostname")
      },
      minimumVersion: try options.checkedMinimumVersion(), priority: options.tlsPriority,
      pins: try options.checkedPins(),
      policyFiles: try options.policyFiles.map { file throws(NBDSecureError) in
        absolutePath(try nonEmpty(file, option: "--policy"))
      },
      connectTimeout: options.connectTimeout)
    // Less than this is no time in which anything could be done.
    if !(options.connectTimeout >= 0.001 && options.connectTimeout <= 86400) {
      throw usage("--connect-timeout: must be between 0.001 and 86400 seconds")
    }
    try checkCombination()
  }

  private func checkCombination() throws(NBDSecureError) {
    switch credentials {
    case .psk:
      if !pins.isEmpty {
        throw usage(
          "--tls-pin: a pre-shared key session has no public key to pin",
          hint: "leave out --tls-pin, or use x509 credentials")
      }
    case .x509, .systemTrust:
      if nameToVerify == nil {
        throw usage(
          "\(endpoint.server): no host name to verify the server's certificate against",
          hint: "name it with --tls-hostname")
      }
    case .none: break
    }
  }
}

/// What a URI's scheme says about TLS.
enum Scheme { case unspecified, plain, tls }

func usage(_ summary: String, hint: String? = nil) -> NBDSecureError {
  NBDSecureError(.usage, summary, hint: hint)
}

private func nonEmpty(
  _ text: String, option: String, hint: String? = nil
) throws(NBDSecureError) -> String {
  guard !text.isEmpty else { throw usage("\(option): must not be empty", hint: hint) }
  guard !text.utf8.contains(0) else { throw usage("\(option): contains a NUL character") }
  return text
}

extension ConnectionOptions {
  /// Takes over what a URI says; whether its scheme asks for TLS.
  fileprivate mutating func absorb(uri text: String) throws(NBDSecureError) -> Scheme {
    for (name, given) in [
      ("--hostname", hostname != nil), ("--port", port != nil), ("--unix", unix != nil),
      ("--vsock", vsock != nil),
    ] where given {
      throw usage("\(name) cannot be combined with a URI", hint: "put it into the URI")
    }
    let uri: NBDURI
    do { uri = try NBDURI(text) } catch {
      // A name of 4 KiB would hide the reason.
      let shown = withoutSecrets(text.count > 200 ? text.prefix(200) + "…" : text)
      throw usage(
        text.isEmpty ? "the URI: must not be empty" : "\(shown): \(error)", hint: error.hint)
    }
    switch uri.transport {
    case .tcp(let host, let number):
      hostname = host
      port = Int(number)
    case .unix(let path): unix = path
    case .vsock(let cid, let number): vsock = "\(cid):\(number)"
    }
    if let asked = export, !uri.exportName.string.isEmpty, asked != uri.exportName.string {
      throw usage("--export names another export than the URI")
    }
    export = export ?? uri.exportName.string
    try take(uri.tlsCertificates, "tls-certificates", into: \.tlsCredentials, "--tls-creds")
    try take(uri.tlsPSKFile, "tls-psk-file", into: \.pskFile, "--psk-file")
    try take(uri.tlsHostname, "tls-hostname", into: \.tlsHostname, "--tls-hostname")
    try take(uri.user, "user name", into: \.pskIdentity, "--psk-identity")
    mustVerify = uri.verifiesPeer
    if uri.tlsType == .x509 { kind = .x509 }
    if uri.tlsType == .psk { kind = .psk }
    return uri.requiresTLS ? .tls : .plain
  }

  private mutating func take(
    _ value: String?, _ key: String, into field: WritableKeyPath<Self, String?>, _ option: String
  ) throws(NBDSecureError) {
    guard let value else { return }
    if let given = self[keyPath: field], given != value {
      throw usage("\(option) and the URI's \(key) differ")
    }
    self[keyPath: field] = value
  }

  fileprivate func resolvedEndpoint() throws(NBDSecureError) -> Endpoint {
    let name: String
    do { name = try ExportName(export ?? "").string } catch {
      throw usage("--export: \(error)", hint: "nbd-secure list shows what the server offers")
    }
    let named = [hostname, unix, vsock].compactMap { $0 }.count
    guard named > 0 else {
      throw usage(
        "no server named", hint: "name it with --hostname HOST, or give a URI: nbds://HOST/EXPORT")
    }
    guard named == 1 else { throw usage("--hostname, --unix and --vsock exclude each other") }
    if hostname == nil {
      if port != nil { throw usage("--port goes with --hostname") }
      if address != nil { throw usage("--address goes with --hostname") }
    }
    if let hostname {
      let host = try HostName.checked(hostname, option: "--hostname")
      let number = port ?? Int(Endpoint.defaultPort)
      guard let port = UInt16(exactly: number), port > 0 else {
        throw usage(
          "--port \(number): must be between 1 and 65535",
          hint: "leave it out for NBD's own port, \(Endpoint.defaultPort)")
      }
      let address = try address.map { text throws(NBDSecureError) in
        try HostName.checked(text, option: "--address")
      }
      return Endpoint(
        transport: .tcp(host: host, port: port, address: address), export: name)
    }
    if let unix {
      let path = absolutePath(try nonEmpty(unix, option: "--unix"))
      guard path.utf8.count < 108 else {
        throw usage("--unix \(path): longer than a socket's path can be (107 bytes)")
      }
      return Endpoint(transport: .unix(path: path), export: name)
    }
    let parts = (vsock ?? "").split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count <= 2, let cid = parts.first.flatMap(Self.vsockNumber),
      let port = parts.count == 2 ? Self.vsockNumber(parts[1]) : UInt32(Endpoint.defaultPort),
      port > 0
    else {
      throw usage(
        "--vsock \(vsock ?? ""): must be CID or CID:PORT, both numbers below 4294967295",
        hint: "the host has CID 2: --vsock 2:\(Endpoint.defaultPort)")
    }
    return Endpoint(transport: .vsock(cid: cid, port: port), export: name)
  }

  /// Digits only; all ones mean "any" to the kernel.
  private static func vsockNumber(_ text: Substring) -> UInt32? {
    guard text.utf8.allSatisfy({ (48...57).contains($0) }), let number = UInt32(text) else {
      return nil
    }
    return number == .max ? nil : number
  }

  /// Whether any option or URI names a server.
  public var namesServer: Bool { [endpoint, hostname, unix, vsock].contains { $0 != nil } }

  /// Chooses the credentials.
  ///
  /// - Parameter server: for messages.
  func credentialSource(
    scheme: Scheme = .unspecified, server: String = "no server"
  ) throws(NBDSecureError) -> (
    credentials: ConnectionRequest.CredentialSource, origin: ConnectionRequest.CredentialOrigin
  ) {
    if tlsCredentials != nil, pskFile != nil {
      throw usage("--tls-creds and --psk-file exclude each other")
    }
    if let pskFile {
      if kind == .x509 { throw usage("tls-type=x509 cannot be combined with --psk-file") }
      if tlsKeyPasswordFile != nil { throw usage("--tls-key-password-file goes with x509") }
      let file = absolutePath(try nonEmpty(pskFile, option: "--psk-file"))
      return (.psk(file: file, identity: pskIdentity), .named)
    }
    if let tlsCredentials {
      let directory = absolutePath(try nonEmpty(tlsCredentials, option: "--tls-creds"))
      return (try source(directory: directory), .named)
    }
    for directory in defaultCredentialDirectories() where fileExists(directory) {
      return (try source(directory: directory), .defaultDirectory)
    }
    if pskIdentity != nil || kind == .psk {
      throw NBDSecureError(
        .credentials, "a pre-shared key is asked for, but no key file is named",
        hint: "name it with --psk-file, or put keys.psk into a directory for --tls-creds")
    }
    if tlsKeyPasswordFile != nil {
      throw usage(
        "--tls-key-password-file: no credentials are named or found in the default directories",
        hint: "name them with --tls-creds")
    }
    if asksForTLS || scheme == .tls { return (.systemTrust, .nothingFound) }
    if allowPlaintext { return (.none, .nothingFound) }
    if scheme == .plain {
      let written = (endpoint ?? "nbd").prefix { $0 != ":" }.lowercased()
      throw NBDSecureError(
        .forbidden, "\(server): an \(written):// URI without credentials means plaintext",
        hint: "use \(written.replacing("nbd", with: "nbds"))://, or give credentials with "
          + "--tls-creds, or permit it: --allow-plaintext")
    }
    return (.systemTrust, .nothingFound)
  }

  /// Whether anything that is asked for can only be had with TLS. Credentials are another matter.
  private var asksForTLS: Bool {
    tlsHostname != nil || tlsKeyPasswordFile != nil || tlsMinimumVersion != nil
      || tlsPriority != nil || !tlsPins.isEmpty || kind != nil || mustVerify
  }

  /// Tells an x509 directory from a PSK one.
  private func source(
    directory: String
  ) throws(NBDSecureError) -> ConnectionRequest.CredentialSource {
    let x509: ConnectionRequest.CredentialSource = .x509(
      directory: directory,
      keyPasswordFile: try tlsKeyPasswordFile.map { file throws(NBDSecureError) in
        absolutePath(try nonEmpty(file, option: "--tls-key-password-file"))
      })
    let psk: ConnectionRequest.CredentialSource = .psk(
      file: "\(directory)/keys.psk", identity: pskIdentity)
    switch kind {
    case .x509: return x509
    case .psk: return psk
    case nil: break
    }
    // One that cannot be looked into is told when it is loaded.
    guard isSearchable(directory) else { return x509 }
    if tlsKeyPasswordFile != nil, fileExists("\(directory)/ca-cert.pem"),
      !fileExists("\(directory)/client-key.pem")
    {
      throw usage("--tls-key-password-file: \(directory) holds no client-key.pem")
    }
    let hasCA = fileExists("\(directory)/ca-cert.pem")
    let hasKeys = fileExists("\(directory)/keys.psk")
    if hasCA, hasKeys {
      throw NBDSecureError(
        .credentials, "\(directory): holds both ca-cert.pem and keys.psk",
        hint: "name one: --psk-file \(directory)/keys.psk, or a directory without the other")
    }
    if hasKeys {
      if tlsKeyPasswordFile != nil { throw usage("--tls-key-password-file goes with x509") }
      return psk
    }
    if pskIdentity != nil {
      throw usage(
        "--psk-identity: \(directory) holds no keys.psk", hint: "name the file with --psk-file")
    }
    // A missing or half-filled directory is told in detail when it is loaded.
    return x509
  }

  private func defaultCredentialDirectories() -> [String] {
    if usesHostCredentialsOnly { return ["/etc/nbd-secure/pki"] }
    var found: [String] = []
    if let base = ThisProcess.environment("XDG_CONFIG_HOME"), base.hasPrefix("/") {
      found.append("\(base)/nbd-secure/pki")
    } else if let home = ThisProcess.environment("HOME"), home.hasPrefix("/") {
      found.append("\(home)/.config/nbd-secure/pki")
    }
    return found + ["/etc/nbd-secure/pki"]
  }

  fileprivate func checkedMinimumVersion() throws(NBDSecureError) -> String {
    let version = tlsMinimumVersion ?? "1.2"
    guard ["1.2", "1.3"].contains(version) else {
      throw usage("--tls-min-version \(version): must be 1.2 or 1.3")
    }
    return version
  }

  fileprivate func checkedPins() throws(NBDSecureError) -> [PolicyPin] {
    try tlsPins.map { text throws(NBDSecureError) in
      guard text.hasPrefix("sha256:"), let pin = PolicyPin(text) else {
        throw usage(
          "--tls-pin \(text): must be sha256: and 64 hexadecimal digits",
          hint: "nbd-secure info prints the server's pin")
      }
      return pin
    }
  }
}

extension NBDURIError {
  /// What a URI looks like, where it is not that which is wrong.
  fileprivate var hint: String? {
    switch self {
    case .noScheme, .unknownScheme, .relativePath, .noHost, .character:
      "an NBD URI looks like nbds://host[:port]/export, or name the server with --hostname"
    case .unknownKey:
      "the keys are socket, tls-certificates, tls-psk-file, tls-hostname, tls-verify-peer, tls-type"
    case .password: "name the file with the key: --psk-file"
    case .exportName: "nbd-secure list shows what the server offers"
    default: nil
    }
  }
}
