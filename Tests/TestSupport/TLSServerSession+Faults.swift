// SPDX-License-Identifier: Apache-2.0
import CGnuTLSLibrary

extension TLSServerSession {
  /// Sends a record of padding that carries no data (TLS 1.3).
  package func sendEmptyRecord() throws(FakeConnection.Failure) {
    var nothing: UInt8 = 0
    let code = gnutls_record_send2(raw, &nothing, 0, 16, 0)
    if code < 0 { throw .tls(Int32(code), String(cString: gnutls_strerror(Int32(code)))) }
  }

  /// The name that the client asked for (SNI); nil when it named none.
  package var serverName: String? {
    var name = [CChar](repeating: 0, count: 256)
    var length = name.count
    var type: UInt32 = 0
    guard gnutls_server_name_get(raw, &name, &length, &type, 0) == 0 else { return nil }
    return String(decoding: name.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// Sends close_notify; the connection stays.
  package func endSession() { sayGoodbye() }

  /// Sends an alert by its number in RFC 8446.
  package func alert(number: UInt32, fatal: Bool) {
    alert(gnutls_alert_description_t(number), fatal: fatal)
  }
}
