// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS
internal import LinuxIO

/// The keys of a session in the form that the kernel takes them (linux/tls.h), wiped at the end.
///
/// Copies of the arrays are not wiped: hand them on, do not keep them.
package final class KernelTLSParameters {
  package let version: TLSVersion
  package let cipher: TLSCipher
  /// The bytes of struct tls12_crypto_info_… for TLS_TX.
  package private(set) var transmit: [UInt8]
  /// The bytes of struct tls12_crypto_info_… for TLS_RX.
  package private(set) var receive: [UInt8]

  init(
    version: TLSVersion, cipher: TLSCipher, transmit: consuming [UInt8], receive: consuming [UInt8]
  ) {
    self.version = version
    self.cipher = cipher
    self.transmit = transmit
    self.receive = receive
  }

  deinit {
    wipe(&transmit)
    wipe(&receive)
  }
}

extension TLSSession {
  /// The session's present keys and record numbers. Only where the session stands between two
  /// records with empty buffers; from then on the session must not be used but to release its socket
  /// (or, when the kernel took none of the keys, to go on).
  ///
  /// Throws `notTransferable`.
  package func kernelTLSParameters() throws(TLSError) -> KernelTLSParameters {
    guard let facts else { throw TLSError(.notTransferable, "there is no TLS session yet") }
    guard unsafe cgt_channel_is_idle(channel) else {
      throw TLSError(.notTransferable, "the TLS session has data on its way")
    }
    return KernelTLSParameters(
      version: facts.version, cipher: facts.cipher,
      transmit: try cryptoInfo(facts, reading: false),
      receive: try cryptoInfo(facts, reading: true))
  }

  private func cryptoInfo(_ facts: SessionFacts, reading: Bool) throws(TLSError) -> [UInt8] {
    var iv = unsafe gnutls_datum_t()
    var key = unsafe gnutls_datum_t()
    var sequence = [UInt8](repeating: 0, count: 8)
    // What iv and key point to stays the library's.
    let code = unsafe gnutls_record_get_state(session, reading ? 1 : 0, nil, &iv, &key, &sequence)
    guard code >= 0 else {
      throw TLSError(
        .notTransferable, "the TLS library gives no keys: \(TLSLibrary.text(for: code))")
    }
    return try unsafe assemble(
      facts, UnsafeBufferPointer(start: iv.data, count: Int(iv.size)),
      UnsafeBufferPointer(start: key.data, count: Int(key.size)), sequence)
  }

  private func assemble(
    _ facts: SessionFacts, _ iv: UnsafeBufferPointer<UInt8>, _ key: UnsafeBufferPointer<UInt8>,
    _ sequence: [UInt8]
  ) throws(TLSError) -> [UInt8] {
    let version: UInt16 = facts.version == .v13 ? 0x0304 : 0x0303
    let shape: (number: UInt16, key: Int, iv: Int)
    switch facts.cipher {
    case .aes128GCM: shape = (51, 16, facts.version == .v13 ? 12 : 4)
    case .aes256GCM: shape = (52, 32, facts.version == .v13 ? 12 : 4)
    case .chacha20Poly1305: shape = (54, 32, 12)
    }
    guard key.count == shape.key, iv.count >= shape.iv else {
      throw TLSError(.notTransferable, "the TLS library gives keys of an unknown form")
    }
    var bytes: [UInt8] = []
    // Reserved whole: growing would leave copies of the key behind.
    bytes.reserveCapacity(64)
    for number in [version, shape.number] {
      unsafe withUnsafeBytes(of: number) { unsafe bytes.append(contentsOf: $0) }
    }
    switch (facts.cipher, facts.version) {
    case (.chacha20Poly1305, _):
      unsafe bytes.append(contentsOf: iv.prefix(12))
      unsafe bytes.append(contentsOf: key)
    case (_, .v13):
      unsafe bytes.append(contentsOf: iv[4..<12])
      unsafe bytes.append(contentsOf: key)
      unsafe bytes.append(contentsOf: iv[0..<4])
    case (_, .v12):
      // The explicit nonce of TLS 1.2 goes on from the record number (RFC 5288, 3).
      bytes.append(contentsOf: sequence)
      unsafe bytes.append(contentsOf: key)
      unsafe bytes.append(contentsOf: iv[0..<4])
    }
    bytes.append(contentsOf: sequence)
    return bytes
  }
}
