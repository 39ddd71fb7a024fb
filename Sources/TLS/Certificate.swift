// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// An X.509 certificate as the library holds it.
@safe final class Certificate {
  let handle: gnutls_x509_crt_t

  /// Takes ownership.
  init(owning handle: gnutls_x509_crt_t) { unsafe self.handle = handle }

  /// Parses DER; nil when it is no certificate.
  init?(der: [UInt8]) {
    var created: gnutls_x509_crt_t?
    guard unsafe gnutls_x509_crt_init(&created) >= 0, let made = unsafe created else { return nil }
    let code = unsafe Datum.with(der) { datum in
      unsafe gnutls_x509_crt_import(made, datum, GNUTLS_X509_FMT_DER)
    }
    guard code >= 0 else {
      unsafe gnutls_x509_crt_deinit(made)
      return nil
    }
    unsafe handle = made
  }

  deinit { unsafe gnutls_x509_crt_deinit(handle) }

  /// All certificates of a PEM file, in its order; the library's error code otherwise.
  static func list(pem: [UInt8]) -> Result<[Certificate], LibraryError> {
    var list: UnsafeMutablePointer<gnutls_x509_crt_t?>?
    var count: UInt32 = 0
    let code = unsafe Datum.with(pem) { datum in
      unsafe gnutls_x509_crt_list_import2(&list, &count, datum, GNUTLS_X509_FMT_PEM, 0)
    }
    guard code >= 0, let list = unsafe list else {
      return .failure(LibraryError(code: code < 0 ? code : GNUTLS_E_NO_CERTIFICATE_FOUND))
    }
    defer { unsafe cgt_free(list) }
    var certificates: [Certificate] = []
    for index in 0..<Int(count) {
      if let one = unsafe list[index] { certificates.append(unsafe Certificate(owning: one)) }
    }
    return .success(certificates)
  }

  var subject: String {
    unsafe Datum.string { unsafe gnutls_x509_crt_get_dn3(handle, $0, 0) }.map(Text.printable) ?? ""
  }

  var issuer: String {
    unsafe Datum.string { unsafe gnutls_x509_crt_get_issuer_dn3(handle, $0, 0) }
      .map(Text.printable) ?? ""
  }

  /// Seconds since 1970.
  var notBefore: Int64 { unsafe Int64(gnutls_x509_crt_get_activation_time(handle)) }

  /// Seconds since 1970.
  var notAfter: Int64 { unsafe Int64(gnutls_x509_crt_get_expiration_time(handle)) }

  /// Whether the basic constraints say that it may issue certificates.
  var isAuthority: Bool { unsafe gnutls_x509_crt_get_ca_status(handle, nil) > 0 }

  /// Whether its issuer bears its own name.
  var isSelfIssued: Bool { unsafe gnutls_x509_crt_check_issuer(handle, handle) > 0 }

  /// The key usage bits, or nil when the certificate does not restrict them.
  var keyUsage: UInt32? {
    var usage: UInt32 = 0
    return unsafe gnutls_x509_crt_get_key_usage(handle, &usage, nil) >= 0 ? usage : nil
  }

  /// Whether the extended key usage is absent or includes this purpose.
  func allows(purpose: UnsafePointer<CChar>) -> Bool {
    unsafe gnutls_x509_crt_check_key_purpose(handle, purpose, 0) != 0
  }

  /// SHA-256 of the SubjectPublicKeyInfo in DER; nil when the key is of a kind unknown.
  var publicKeyDigest: [UInt8]? {
    var digest = [UInt8](repeating: 0, count: 32)
    var size = digest.count
    let code = unsafe gnutls_x509_crt_get_key_id(
      handle, GNUTLS_KEYID_USE_SHA256.rawValue, &digest, &size)
    return code >= 0 && size == digest.count ? digest : nil
  }

  /// The kind and size of the key, as "ECDSA 256".
  var keyType: String {
    var bits: UInt32 = 0
    let algorithm = unsafe gnutls_x509_crt_get_pk_algorithm(handle, &bits)
    guard algorithm >= 0,
      let name = unsafe gnutls_pk_algorithm_get_name(
        gnutls_pk_algorithm_t(rawValue: UInt32(algorithm)))
    else { return "unknown" }
    return unsafe "\(String(cString: name)) \(bits)"
  }

  var signatureAlgorithm: String {
    let algorithm = unsafe gnutls_x509_crt_get_signature_algorithm(handle)
    guard algorithm > 0,
      let name = unsafe gnutls_sign_get_name(
        gnutls_sign_algorithm_t(rawValue: UInt32(algorithm)))
    else { return "unknown" }
    return unsafe String(cString: name)
  }

  var serialNumber: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 64)
    var size = bytes.count
    let code = unsafe gnutls_x509_crt_get_serial(handle, &bytes, &size)
    return code >= 0 ? Array(bytes.prefix(size)) : []
  }

  /// The DNS names and the IP addresses of the subject alternative name; whether these are all.
  var alternativeNames: (dns: [String], ip: [IPAddress], areAll: Bool) {
    var dns: [String] = []
    var ip: [IPAddress] = []
    for index in 0...UInt32(Certificate.mostNames) {
      var bytes = [UInt8](repeating: 0, count: 256)
      var size = bytes.count
      var type: UInt32 = 0
      var code = unsafe gnutls_x509_crt_get_subject_alt_name2(
        handle, index, &bytes, &size, &type, nil)
      if code == GNUTLS_E_SHORT_MEMORY_BUFFER, size <= 1 << 16 {
        bytes = [UInt8](repeating: 0, count: size + 1)
        size = bytes.count
        code = unsafe gnutls_x509_crt_get_subject_alt_name2(
          handle, index, &bytes, &size, &type, nil)
      }
      if code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE { return (dns, ip, true) }
      guard code >= 0, size <= bytes.count else { continue }
      // The terminating zero is not counted for names, but is there.
      let value = Array(bytes.prefix(size))
      if type == GNUTLS_SAN_DNSNAME.rawValue {
        dns.append(String(decoding: value, as: UTF8.self))
      } else if type == GNUTLS_SAN_IPADDRESS.rawValue, let address = IPAddress(bytes: value) {
        ip.append(address)
      }
    }
    return (dns, ip, false)
  }

  /// Whether a DNS name of the certificate matches; its common name is never looked at, because the
  /// caller has made sure that there are DNS names.
  func matches(dns name: String) -> Bool {
    unsafe gnutls_x509_crt_check_hostname2(handle, name, 0) != 0
  }

  /// Names of a certificate that are looked at.
  static let mostNames = 4096
}

/// An error code of the library.
struct LibraryError: Error {
  let code: Int32
  var text: String { TLSLibrary.text(for: code) }
}

/// The library's way to pass bytes.
enum Datum {
  /// Lends bytes to a call that only reads them.
  static func with<R>(_ bytes: [UInt8], _ body: (UnsafePointer<gnutls_datum_t>) -> R) -> R {
    unsafe bytes.withUnsafeBufferPointer { buffer in
      // The library's type is not const, its use is.
      var datum = unsafe gnutls_datum_t(
        data: UnsafeMutablePointer(mutating: buffer.baseAddress),
        size: UInt32(clamping: buffer.count))
      return unsafe withUnsafePointer(to: &datum) { unsafe body($0) }
    }
  }

  /// Text that a call returns in memory of the library's.
  static func string(_ body: (UnsafeMutablePointer<gnutls_datum_t>) -> Int32) -> String? {
    unsafe bytes(body).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Bytes that a call returns in memory of the library's.
  static func bytes(_ body: (UnsafeMutablePointer<gnutls_datum_t>) -> Int32) -> [UInt8]? {
    var datum = unsafe gnutls_datum_t(data: nil, size: 0)
    guard unsafe body(&datum) >= 0, let data = unsafe datum.data else { return nil }
    defer { unsafe cgt_free(data) }
    return unsafe Array(UnsafeBufferPointer(start: data, count: Int(datum.size)))
  }
}
