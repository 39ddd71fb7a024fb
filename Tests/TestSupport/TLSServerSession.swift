// SPDX-License-Identifier: Apache-2.0
package import CGnuTLSLibrary
import Foundation

/// With what a fake server proves who it is.
package struct TLSServerIdentity: Sendable {
  /// The kind of credentials.
  package enum Kind: Sendable {
    /// PEM files; with `clientCA`, a client certificate is demanded.
    case x509(certificate: String, key: String, clientCA: String?)
    /// A key file as psktool writes it.
    case psk(file: String)
  }
  /// The credentials.
  package var kind: Kind
  /// GnuTLS priorities.
  package var priority: String
  /// Whether a failed handshake ends with an alert, or with a bare close.
  package var sendsAlerts = true

  /// An identity from PEM files.
  package static func x509(
    certificate: String, key: String, clientCA: String? = nil, priority: String = "NORMAL"
  ) -> TLSServerIdentity {
    TLSServerIdentity(
      kind: .x509(certificate: certificate, key: key, clientCA: clientCA), priority: priority)
  }

  /// An identity from a key file.
  package static func psk(
    file: String, priority: String = "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK"
  ) -> TLSServerIdentity { TLSServerIdentity(kind: .psk(file: file), priority: priority) }
}

/// The server's side of a GnuTLS session over a ``FakeConnection``.
package final class TLSServerSession {
  /// The GnuTLS session, for what no step covers. Valid as long as this value.
  package private(set) var raw: gnutls_session_t?
  private var certificates: gnutls_certificate_credentials_t?
  private var keys: gnutls_psk_server_credentials_t?
  private unowned let connection: FakeConnection
  private var failure: FakeConnection.Failure?
  private let sendsAlerts: Bool
  private var isPolling = false

  init(_ identity: TLSServerIdentity, over connection: FakeConnection) throws(FakeConnection
    .Failure)
  {
    self.connection = connection
    sendsAlerts = identity.sendsAlerts
    try check(gnutls_init(&raw, UInt32(GNUTLS_SERVER)))
    try check(gnutls_priority_set_direct(raw, identity.priority, nil))
    switch identity.kind {
    case .x509(let certificate, let key, let clientCA):
      try check(gnutls_certificate_allocate_credentials(&certificates))
      try check(
        gnutls_certificate_set_x509_key_file(certificates, certificate, key, GNUTLS_X509_FMT_PEM))
      if let clientCA {
        try check(
          gnutls_certificate_set_x509_trust_file(certificates, clientCA, GNUTLS_X509_FMT_PEM))
        gnutls_certificate_server_set_request(raw, GNUTLS_CERT_REQUIRE)
        gnutls_session_set_verify_cert(raw, nil, 0)
      }
      try check(
        gnutls_credentials_set(raw, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(certificates)))
    case .psk(let file):
      try check(gnutls_psk_allocate_server_credentials(&keys))
      try check(gnutls_psk_set_server_credentials_file(keys, file))
      try check(gnutls_credentials_set(raw, GNUTLS_CRD_PSK, UnsafeMutableRawPointer(keys)))
    }
    gnutls_transport_set_ptr(raw, Unmanaged.passUnretained(self).toOpaque())
    gnutls_transport_set_pull_function(raw) { pointer, buffer, size in
      guard let pointer, let buffer else { return -1 }
      return TLSServerSession.at(pointer).pull(into: buffer, size)
    }
    // The session's deadline is the connection's patience, kept in pull.
    gnutls_transport_set_pull_timeout_function(raw) { _, _ in 1 }
    gnutls_transport_set_push_function(raw) { pointer, buffer, size in
      guard let pointer, let buffer else { return -1 }
      return TLSServerSession.at(pointer).push(UnsafeRawBufferPointer(start: buffer, count: size))
    }
  }

  deinit {
    if let raw { gnutls_deinit(raw) }
    if let certificates { gnutls_certificate_free_credentials(certificates) }
    if let keys { gnutls_psk_free_server_credentials(keys) }
  }

  func handshake() throws(FakeConnection.Failure) {
    while true {
      let code = gnutls_handshake(raw)
      if code == 0 { return }
      if gnutls_error_is_fatal(code) != 0 {
        // Tell the client why, as careful servers do.
        if sendsAlerts { gnutls_alert_send_appropriate(raw, code) }
        try check(code)
      }
    }
  }

  func send(_ bytes: [UInt8]) throws(FakeConnection.Failure) {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        gnutls_record_send(raw, $0.baseAddress.map { $0 + sent }, $0.count - sent)
      }
      if count < 0 { try check(Int32(count)) } else { sent += count }
    }
  }

  func receive(_ limit: Int) throws(FakeConnection.Failure) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: limit)
    while true {
      let count = gnutls_record_recv(raw, &buffer, limit)
      if count >= 0 {
        let bytes = Array(buffer.prefix(count))
        connection.note(decrypted: bytes)
        return bytes
      }
      if count == Int(GNUTLS_E_PREMATURE_TERMINATION) { throw .closed(got: []) }
      try check(Int32(count))
    }
  }

  /// What a record that is there holds, without waiting for one; nothing when none is.
  package func receiveWhatIsThere(_ limit: Int) throws(FakeConnection.Failure) -> [UInt8] {
    isPolling = true
    defer { isPolling = false }
    var buffer = [UInt8](repeating: 0, count: limit)
    let count = gnutls_record_recv(raw, &buffer, limit)
    if count > 0 { return Array(buffer.prefix(count)) }
    if count == 0 || count == Int(GNUTLS_E_PREMATURE_TERMINATION) { throw .closed(got: []) }
    try check(Int32(count))
    return []
  }

  /// Sends a TLS 1.3 KeyUpdate; with `asking`, one that demands an answer.
  package func updateKeys(asking: Bool) throws(FakeConnection.Failure) {
    try check(gnutls_session_key_update(raw, asking ? UInt32(GNUTLS_KU_PEER) : 0))
  }

  /// Sends TLS 1.3 session tickets.
  package func sendTickets(_ count: UInt32) throws(FakeConnection.Failure) {
    try check(gnutls_session_ticket_send(raw, count, 0))
  }

  /// Asks for a TLS 1.2 renegotiation.
  package func askRenegotiation() throws(FakeConnection.Failure) {
    try check(gnutls_rehandshake(raw))
  }

  /// Sends an alert.
  package func alert(_ description: gnutls_alert_description_t, fatal: Bool = true) {
    gnutls_alert_send(raw, fatal ? GNUTLS_AL_FATAL : GNUTLS_AL_WARNING, description)
  }

  func sayGoodbye() { gnutls_bye(raw, GNUTLS_SHUT_WR) }

  private static func at(_ pointer: UnsafeMutableRawPointer) -> TLSServerSession {
    Unmanaged<TLSServerSession>.fromOpaque(pointer).takeUnretainedValue()
  }

  private func pull(into buffer: UnsafeMutableRawPointer, _ size: Int) -> Int {
    if isPolling, !connection.isReadable(within: 0) {
      gnutls_transport_set_errno(raw, EAGAIN)
      return -1
    }
    do {
      let bytes = try connection.receiveRaw(size)
      buffer.copyMemory(from: bytes, byteCount: bytes.count)
      return bytes.count
    } catch {
      return fail(error)
    }
  }

  private func push(_ bytes: UnsafeRawBufferPointer) -> Int {
    do {
      try connection.sendRaw(Array(bytes))
      return bytes.count
    } catch {
      return fail(error)
    }
  }

  /// Keeps the reason beneath GnuTLS's own error.
  private func fail(_ reason: FakeConnection.Failure) -> Int {
    failure = reason
    gnutls_transport_set_errno(raw, ECONNRESET)
    return -1
  }

  private func check(_ code: Int32) throws(FakeConnection.Failure) {
    guard code < 0 else { return }
    if let failure { throw failure }
    if gnutls_error_is_fatal(code) != 0 {
      throw .tls(code, String(cString: gnutls_strerror(code)))
    }
  }
}
