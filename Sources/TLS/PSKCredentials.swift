// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS
internal import LinuxIO

/// One pre-shared key and its identity.
@safe package final class PSKCredentials: Sendable {
  /// The identity as the file has it.
  package let identity: String
  /// What the file says.
  package let files: [CredentialFileFacts]
  nonisolated(unsafe) let handle: gnutls_psk_client_credentials_t

  private init(
    owning handle: gnutls_psk_client_credentials_t, identity: String, facts: CredentialFileFacts
  ) {
    unsafe self.handle = handle
    self.identity = identity
    files = [facts]
  }

  deinit { unsafe gnutls_psk_free_client_credentials(handle) }

  /// Keys shorter than this can be found by trying, from one recorded handshake.
  static let advisableKeyLength = 16

  /// The largest key file, in bytes.
  static let largestFile = 1 << 20

  /// Loads the line of `file` that bears `identity`, or the only line there is.
  package static func load(
    file path: String, identity: String? = nil
  ) throws(CredentialError) -> PSKCredentials {
    TLSLibrary.prepare()
    let file = try CredentialFile(
      path, limit: largestFile,
      .init(
        missing: .pskFileMissing, exposed: .pskFileExposed, what: "the file of pre-shared keys",
        hint: "a line of it is identity:key, the key in hexadecimal; psktool makes them"))
    let entries: [PSKFile.Entry]
    do {
      entries = try PSKFile(parsing: file.bytes).entries
    } catch {
      throw explain(error, path)
    }
    let entry = try choose(identity, entries, path)
    var facts = CredentialFileFacts(role: .preSharedKeys, path: path, mode: file.mode)
    facts.identities = entries.map { Text.printable($0.identity.text) }
    facts.chosenIdentity = Text.printable(entry.identity.text)
    let length = entry.digits.count / 2
    if length < advisableKeyLength {
      facts.notes.append(
        "the key of “\(Text.printable(entry.identity.text))” has only \(length) bytes; "
          + "\(advisableKeyLength) or more cannot be guessed")
    }
    guard var key = Hexadecimal.decode(file.bytes[entry.digits]) else {
      throw CredentialError(.pskBadKey, path, "the key is not hexadecimal")
    }
    defer { wipe(&key) }
    return unsafe PSKCredentials(
      owning: try allocate(entry.identity, key, path), identity: entry.identity.text, facts: facts)
  }

  private static func allocate(
    _ identity: PSKIdentity, _ key: borrowing [UInt8], _ path: String
  ) throws(CredentialError) -> gnutls_psk_client_credentials_t {
    var created: gnutls_psk_client_credentials_t?
    guard unsafe gnutls_psk_allocate_client_credentials(&created) >= 0,
      let handle = unsafe created
    else { throw CredentialError(.library, path, "out of memory for credentials") }
    let code = unsafe Datum.with(identity.bytes) { name in
      unsafe Datum.with(key) { key in
        unsafe gnutls_psk_set_client_credentials2(handle, name, key, GNUTLS_PSK_KEY_RAW)
      }
    }
    guard code >= 0 else {
      unsafe gnutls_psk_free_client_credentials(handle)
      throw CredentialError(
        .library, path, "the TLS library does not take it: \(TLSLibrary.text(for: code))")
    }
    return unsafe handle
  }

  private static func choose(
    _ wanted: String?, _ entries: [PSKFile.Entry], _ path: String
  ) throws(CredentialError) -> PSKFile.Entry {
    let names = Text.list(entries.map(\.identity.text))
    guard let first = entries.first else {
      throw CredentialError(
        .pskFileEmpty, path, "holds no key", hint: "a line is identity:key, the key in hexadecimal")
    }
    guard let wanted else {
      guard entries.count == 1 else {
        throw CredentialError(
          .pskIdentityNotNamed, path, "holds \(entries.count) identities and none was named",
          hint: "name one with --psk-identity: \(names)")
      }
      return first
    }
    let bytes = PSKIdentity(wanted.utf8)?.bytes ?? Array(wanted.utf8)
    guard let entry = entries.first(where: { $0.identity.bytes == bytes }) else {
      throw CredentialError(
        .pskIdentityUnknown, path, "has no identity “\(Text.printable(wanted))”",
        hint: "it has \(names)")
    }
    return entry
  }

  private static func explain(_ failure: PSKFile.Failure, _ path: String) -> CredentialError {
    let hint = "a line is identity:key, the key in hexadecimal"
    let place = "line \(failure.line)"
    return switch failure.kind {
    case .noColon:
      CredentialError(.pskMalformedLine, path, "\(place) has no colon", hint: hint)
    case .badIdentity:
      CredentialError(
        .pskBadIdentity, path, "the identity in \(place) is empty, too long or malformed",
        hint: "an identity has no white space or control characters; #HEX stands for other bytes")
    case .emptyKey:
      CredentialError(.pskEmptyKey, path, "the key in \(place) is empty", hint: hint)
    case .badKey:
      CredentialError(
        .pskBadKey, path, "the key in \(place) is not an even number of hexadecimal digits",
        hint: hint)
    case .duplicate(let firstLine):
      CredentialError(
        .pskDuplicate, path, "\(place) has the same identity as line \(firstLine)",
        hint: "remove one of them")
    case .tooManyLines:
      CredentialError(.tooLarge, path, "more than \(PSKFile.mostEntries) identities")
    }
  }
}
