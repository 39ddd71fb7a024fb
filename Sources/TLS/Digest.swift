// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

extension TLSLibrary {
  /// SHA-256 (FIPS 180-4) of `bytes`, as 64 lower-case hexadecimal digits.
  package static func sha256Hexadecimal(_ bytes: [UInt8]) -> String {
    var bytes = bytes
    var digest = [UInt8](repeating: 0, count: 32)
    var size = digest.count
    let length = UInt32(clamping: bytes.count)
    let code = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
      var datum = unsafe gnutls_datum_t(data: buffer.baseAddress, size: length)
      return unsafe gnutls_fingerprint(GNUTLS_DIG_SHA256, &datum, &digest, &size)
    }
    // With a known digest and a large enough buffer there is no way to fail.
    return code == 0 ? Hexadecimal.encode(digest) : ""
  }
}
