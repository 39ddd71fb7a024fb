// SPDX-License-Identifier: Apache-2.0
import CGnuTLSLibrary

extension TLSServerSession {
  /// Sends a record of padding that carries no data (TLS 1.3).
  package func sendEmptyRecord() throws(FakeConnection.Failure) {
    var nothing: UInt8 = 0
    let code = gnutls_record_send2(raw, &nothing, 0, 16, 0)
    if code < 0 { throw .tls(Int32(code), String(cString: gnutls_strerror(Int32(code)))) }
  }

  /// Sends close_notify; the connection stays.
  package func endSession() { sayGoodbye() }

  /// Sends an alert by its number in RFC 8446.
  package func alert(number: UInt32, fatal: Bool) {
    alert(gnutls_alert_description_t(number), fatal: fatal)
  }
}
