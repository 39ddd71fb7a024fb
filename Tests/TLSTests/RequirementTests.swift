// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import TLS
import TestSupport
import Testing

/// Priority strings, pins and names, as far as they can be judged without a server.
@Suite struct RequirementTests {
  /// What a session offers, or why there is none.
  private func start(
    _ requirements: TLSRequirements, psk: Bool = false, as name: String = "localhost"
  ) throws {
    let pair = try SocketPair()
    let credentials = psk ? try TLSTests.psk() : try x509()
    _ = try TLSSession(
      socket: pair.first, credentials: credentials, identity: psk ? .none : ServerIdentity(name),
      requirements: requirements)
  }

  @Test(arguments: [
    "NORMAL", "SECURE256", "NORMAL:-VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.3", "PFS",
    "NORMAL:+VERS-TLS1.0:+3DES-CBC:+ARCFOUR-128:+ANON-ECDH", "PERFORMANCE",
    "NONE:+VERS-TLS1.2:+AEAD:+ECDHE-RSA:+AES-256-GCM:+SIGN-RSA-SHA256:+GROUP-ALL",
  ])
  func usablePriority(_ priority: String) throws {
    try start(TLSRequirements(priority: priority))
  }

  @Test(arguments: [
    "NORMAL:%UNSAFE_RENEGOTIATION", "NORMAL:%VERIFY_ALLOW_SIGN_RSA_MD5", "NONSENSE", "",
    "NORMAL:-NONSENSE", "NORMAL:+", "%COMPAT",
  ])
  func unusablePriority(_ priority: String) throws {
    let error = failure(TLSError.self) { try start(TLSRequirements(priority: priority)) }
    #expect(error?.kind == .invalidPriority, "\(String(describing: error))")
    #expect(error?.kind.category == .usage)
  }

  @Test(arguments: [
    "NORMAL:-VERS-ALL:+VERS-TLS1.1", "NORMAL:-CIPHER-ALL:+AES-256-CBC",
    "NORMAL:-KX-ALL:+RSA", "NORMAL:-KX-ALL:+ANON-ECDH", "NORMAL:-MAC-ALL:+SHA1",
    "NORMAL:-SIGN-ALL:+SIGN-RSA-SHA1", "NORMAL:-KX-ALL:+ECDHE-PSK",
    "NORMAL:-KX-ALL:+DHE-RSA:-GROUP-ALL:+GROUP-X25519",
  ])
  func emptyPriority(_ priority: String) throws {
    let error = failure(TLSError.self) { try start(TLSRequirements(priority: priority)) }
    #expect(error?.kind == .emptyPriority, "\(String(describing: error))")
    #expect(error?.kind.category == .usage)
  }

  @Test func priorityOfKeys() throws {
    try start(TLSRequirements(priority: "NORMAL:+ECDHE-PSK"), psk: true)
    let error = failure(TLSError.self) { try start(TLSRequirements(priority: "NORMAL"), psk: true) }
    #expect(error?.kind == .emptyPriority)
    #expect(error?.hint?.contains("+ECDHE-PSK") ?? false)
  }

  @Test func priorityDoesNotWiden() throws {
    let requirements = TLSRequirements(minimumVersion: .v13, priority: "NORMAL:-VERS-TLS1.3")
    let error = failure(TLSError.self) { try start(requirements) }
    #expect(error?.kind == .emptyPriority)
    let narrow = TLSRequirements(
      priority: "NORMAL:-CIPHER-ALL:+AES-128-GCM", allowedCiphers: [.aes256GCM])
    #expect(failure(TLSError.self) { try start(narrow) }?.kind == .emptyPriority)
  }

  /// The user's order decides, within what is allowed.
  @Test func priorityOrders() throws {
    let requirements = TLSRequirements(
      priority: "NORMAL:-CIPHER-ALL:+AES-256-CBC:+AES-256-GCM:+AES-128-GCM")
    let facts = try prove(server(), x509(), as: "localhost", requirements)
    #expect(facts.cipher == .aes256GCM)
  }

  @Test func nothingAllowed() throws {
    for requirements in [
      TLSRequirements(allowedCiphers: []), TLSRequirements(allowedGroups: []),
    ] {
      let error = failure(TLSError.self) { try start(requirements) }
      #expect(error?.kind == .emptyRequirements)
      #expect(error?.kind.category == .configuration)
    }
    // A pre-shared key hashes with SHA-256 in TLS 1.3.
    let sha384 = TLSRequirements(minimumVersion: .v13, allowedCiphers: [.aes256GCM])
    #expect(failure(TLSError.self) { try start(sha384, psk: true) }?.kind == .emptyRequirements)
    let older = TLSRequirements(allowedCiphers: [.aes256GCM])
    let facts = try prove(.psk(file: pki("psk/keys.psk")), psk(), as: "", older)
    #expect(facts.version == .v12 && facts.cipher == .aes256GCM)
  }

  @Test func pins() throws {
    let digits = String(repeating: "0A", count: 32)
    #expect(PublicKeyPin("sha256:\(digits)")?.description == "sha256:" + digits.lowercased())
    for text in [
      "", "sha256:", digits, "sha1:\(digits)", "sha256:\(digits)0", "sha256:\(digits)00",
    ] {
      #expect(PublicKeyPin(text) == nil)
    }
    let requirements = TLSRequirements(pins: [PublicKeyPin("sha256:\(digits)")!])
    let error = failure(TLSError.self) { try start(requirements, psk: true) }
    #expect(error?.kind.category == .usage)
  }

  @Test(arguments: [
    ("localhost", ServerIdentity.dns("localhost")), ("Example.ORG.", .dns("example.org")),
    ("127.0.0.1", .ip("127.0.0.1")), ("[::1]", .ip("::1")), ("fe80::1%eth0", .ip("fe80::1")),
    ("2001:DB8:0::1", .ip("2001:db8::1")), ("my_host-1", .dns("my_host-1")),
    ("127.1", .dns("127.1")), ("bücher.example", .dns("bücher.example")),
  ])
  func names(_ text: String, _ identity: ServerIdentity) throws {
    #expect(try ServerIdentity(text) == identity)
  }

  @Test(arguments: [
    "", ".", "..", "a..b", "a b", "a\0b", "*.example", "[::1", ":::", "a/b",
    String(repeating: "a", count: 64), "a\n", "::1::",
    String(repeating: "abcdefg.", count: 32) + "org",
  ])
  func impossibleNames(_ text: String) throws {
    let error = failure(TLSError.self) { _ = try ServerIdentity(text) }
    #expect(error?.kind == .invalidIdentity)
    #expect(error?.kind.category == .usage)
  }

  @Test func version() { #expect(TLSLibrary.version.hasPrefix("3.")) }
}
