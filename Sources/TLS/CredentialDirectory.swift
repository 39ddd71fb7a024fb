// SPDX-License-Identifier: Apache-2.0
internal import Glibc
internal import LinuxIO
internal import SystemPackage

/// A directory with the file names that QEMU and libnbd agreed on.
struct CredentialDirectory {
  let path: String

  static let caName = "ca-cert.pem"
  static let crlName = "ca-crl.pem"
  static let certificateName = "client-cert.pem"
  static let keyName = "client-key.pem"
  static let pskName = "keys.psk"

  /// Checks that it is there, is a directory, and can be changed by its owner only.
  init(_ path: String) throws(CredentialError) {
    let facts: FileFacts
    do {
      facts = try FileFacts(path: path)
    } catch .noSuchFileOrDirectory {
      throw CredentialError(
        .directoryMissing, path, "there is no such directory",
        hint: "a credentials directory holds ca-cert.pem, or keys.psk")
    } catch {
      throw CredentialError(.directoryUnreadable, path, "cannot be read: \(error)")
    }
    guard facts.isDirectory else {
      throw CredentialError(
        .notADirectory, path, "not a directory",
        hint: "a single key file is named with --psk-file")
    }
    guard !facts.belongsToOthers else {
      throw CredentialError(
        .directoryOfOthers, path,
        "belongs to user \(facts.user), who is neither root nor the caller",
        hint: "chown root \(path)")
    }
    // In a sticky directory such as /tmp nobody can replace the files of others.
    guard !facts.isWritableByOthers || facts.mode & 0o1000 != 0 else {
      throw CredentialError(
        .directoryOpenToOthers, path,
        "others can put files into it: its mode is \(String(facts.mode, radix: 8))",
        hint: "chmod go-w \(path)")
    }
    guard unsafe access(path, R_OK | X_OK) == 0 else {
      throw CredentialError(
        .directoryUnreadable, path, "cannot be read: \(Errno(rawValue: Glibc.errno))")
    }
    self.path = path
  }

  func file(_ name: String) -> String {
    path.hasSuffix("/") ? path + name : path + "/" + name
  }

  /// Whether there is an entry of that name, whatever it is: a dangling link counts, so that a file
  /// somebody meant to be there is not passed over.
  func has(_ name: String) throws(CredentialError) -> Bool {
    do {
      _ = try FileFacts(path: file(name), followLinks: false)
      return true
    } catch .noSuchFileOrDirectory {
      return false
    } catch {
      throw CredentialError(.fileUnreadable, file(name), "cannot be read: \(error)")
    }
  }
}

extension Credentials {
  /// Loads what a directory holds: certificates where it has `ca-cert.pem`, a pre-shared key where
  /// it has `keys.psk`. With both, `kind` must say which.
  ///
  /// `identity` is the pre-shared key's, `keyPasswordFile` the encrypted client key's,
  /// `trustAnchors` a PEM file to use in place of the directory's own `ca-cert.pem`.
  package static func load(
    directory: String, kind: Kind? = nil, identity: String? = nil,
    keyPasswordFile: String? = nil, trustAnchors: String? = nil
  ) throws(CredentialError) -> Credentials {
    let place = try CredentialDirectory(directory)
    let hasCA = try place.has(CredentialDirectory.caName)
    let hasPSK = try place.has(CredentialDirectory.pskName)
    if kind == nil, hasCA, hasPSK {
      throw CredentialError(
        .ambiguousDirectory, directory, "holds both ca-cert.pem and keys.psk",
        hint: "name one: --psk-file \(place.file(CredentialDirectory.pskName)), or a directory "
          + "with certificates only")
    }
    if kind == .psk || (kind == nil && hasPSK) {
      return .psk(
        try PSKCredentials.load(file: place.file(CredentialDirectory.pskName), identity: identity))
    }
    if kind == nil, !hasCA, trustAnchors == nil,
      !(try place.has(CredentialDirectory.certificateName)),
      !(try place.has(CredentialDirectory.keyName))
    {
      throw CredentialError(
        .emptyDirectory, directory, "holds neither ca-cert.pem nor keys.psk",
        hint: "put the certificate of the server's authority there as ca-cert.pem")
    }
    return .x509(
      try X509Credentials.load(
        directory: directory, keyPasswordFile: keyPasswordFile, trustAnchors: trustAnchors))
  }
}
