// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS
internal import LinuxIO

/// A private key as the library holds it, which wipes it at the end.
@safe final class PrivateKey {
  let handle: gnutls_x509_privkey_t
  let facts: CredentialFileFacts

  init(file path: String, passwordFile: String?) throws(CredentialError) {
    let file = try CredentialFile(
      path, limit: CredentialFile.largestSecret,
      .init(missing: .certificateWithoutKey, exposed: .keyExposed, what: "the client key"))
    let encrypted = PEM.isEncryptedKey(file.bytes)
    let password = try passwordFile.map { path throws(CredentialError) in try Password(file: path) }
    if encrypted, password == nil {
      throw CredentialError(
        .keyEncrypted, path, "encrypted, and no password was given",
        hint: "name a file that holds the password with --tls-key-password-file")
    }
    var created: gnutls_x509_privkey_t?
    guard unsafe gnutls_x509_privkey_init(&created) >= 0, let made = unsafe created else {
      throw CredentialError(.library, path, "out of memory for a key")
    }
    unsafe handle = made
    let code = unsafe Datum.with(file.bytes) { datum in
      unsafe Password.lend(encrypted ? password : nil) { password in
        unsafe gnutls_x509_privkey_import2(made, datum, GNUTLS_X509_FMT_PEM, password, 0)
      }
    }
    var facts = CredentialFileFacts(role: .clientKey, path: path, mode: file.mode)
    facts.keyIsEncrypted = encrypted
    facts.keyType = code >= 0 ? unsafe PrivateKey.type(of: made) : nil
    self.facts = facts
    guard code >= 0 else {
      if encrypted, code == GNUTLS_E_DECRYPTION_FAILED, let passwordFile {
        throw CredentialError(
          .keyPasswordWrong, path,
          "the password in \(Text.path(passwordFile)) does not decrypt it")
      }
      throw CredentialError(
        .keyNotPEM, path,
        PEM.fault(file.bytes) ?? "not a private key in PEM: \(TLSLibrary.text(for: code))",
        hint: "private keys in PEM begin with -----BEGIN PRIVATE KEY----- or the like")
    }
  }

  deinit { unsafe gnutls_x509_privkey_deinit(handle) }

  private static func type(of handle: gnutls_x509_privkey_t) -> String {
    var bits: UInt32 = 0
    let algorithm = unsafe gnutls_x509_privkey_get_pk_algorithm2(handle, &bits)
    guard algorithm >= 0,
      let name = unsafe gnutls_pk_algorithm_get_name(
        gnutls_pk_algorithm_t(rawValue: UInt32(algorithm)))
    else { return "unknown" }
    return unsafe "\(String(cString: name)) \(bits)"
  }

  /// SHA-256 of the SubjectPublicKeyInfo in DER, as of a certificate's.
  var publicKeyDigest: [UInt8]? {
    var digest = [UInt8](repeating: 0, count: 32)
    var size = digest.count
    let code = unsafe gnutls_x509_privkey_get_key_id(
      handle, GNUTLS_KEYID_USE_SHA256.rawValue, &digest, &size)
    return code >= 0 && size == digest.count ? digest : nil
  }
}

/// The first line of a password file, with a zero at its end for C, wiped when it goes.
private final class Password {
  private let file: CredentialFile
  private var bytes: [UInt8]

  init(file path: String) throws(CredentialError) {
    file = try CredentialFile(
      path, limit: 4096,
      .init(
        missing: .passwordFileMissing, exposed: .passwordFileExposed,
        what: "the file with the key's password"))
    var end = file.bytes.firstIndex(of: UInt8(ascii: "\n")) ?? file.bytes.endIndex
    if end > 0, file.bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    guard end > 0, !file.bytes[..<end].contains(0) else {
      bytes = []
      throw CredentialError(
        .passwordFileMalformed, path, end == 0 ? "holds no password" : "holds a zero byte")
    }
    bytes = []
    bytes.reserveCapacity(end + 1)
    bytes.append(contentsOf: file.bytes[..<end])
    bytes.append(0)
  }

  deinit { wipe(&bytes) }

  static func lend<R>(_ password: Password?, _ body: (UnsafePointer<CChar>?) -> R) -> R {
    guard let password else { return body(nil) }
    return unsafe password.bytes.withUnsafeBufferPointer { buffer in
      unsafe buffer.withMemoryRebound(to: CChar.self) { unsafe body($0.baseAddress) }
    }
  }
}
