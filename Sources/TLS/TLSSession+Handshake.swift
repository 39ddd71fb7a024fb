// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS
package import LinuxIO

extension TLSSession {
  /// Warnings of the server that are read over in one handshake.
  private static let mostWarnings = 8

  /// Carries out the handshake, and verifies everything before it returns.
  package func handshake(deadline: Deadline) throws(TLSError) {
    var warnings = 0
    while true {
      let code = unsafe cgt_channel_handshake(channel)
      if code == GNUTLS_E_SUCCESS { break }
      if code == GNUTLS_E_WARNING_ALERT_RECEIVED, warnings < TLSSession.mostWarnings {
        warnings += 1
        continue
      }
      guard code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED else {
        throw abandon(code)
      }
      let isWritten = try writeOnce(.handshake)
      // A message may span any number of records, and the rest of it lie in our buffer already.
      let isStarved = unsafe cgt_channel_is_starved(channel)
      if isWritten, !isStarved {
        if deadline.hasPassed { throw TLSSession.late(.handshake) }
        continue
      }
      try wait(forInput: true, until: deadline, phase: .handshake)
    }
    try drain(until: deadline, phase: .handshake)
    let proved = try prove()
    if proved.version == .v13 { unsafe cgt_channel_expect_ciphertext(channel) }
    facts = proved
  }

  /// Tells the server why, as far as one attempt does, and says what happened.
  private func abandon(_ code: Int32) -> TLSError {
    let error = failure(code, phase: .handshake)
    if code != GNUTLS_E_FATAL_ALERT_RECEIVED {
      _ = unsafe gnutls_alert_send_appropriate(session, code)
      _ = unsafe cgt_channel_flush(channel)
    }
    return error
  }

  /// What was negotiated, checked once more against what was asked for.
  private func prove() throws(TLSError) -> SessionFacts {
    let code = unsafe gnutls_protocol_get_version(session)
    let cipherCode = unsafe gnutls_cipher_get(session)
    guard let version = TLSVersion(code: code), version >= requirements.minimumVersion,
      let cipher = TLSCipher(code: cipherCode),
      requirements.allowedCiphers?.contains(cipher) ?? true
    else {
      throw TLSError(
        .noCommonParameters, "the server chose a version or cipher that is not allowed")
    }
    let group = unsafe AlgorithmLists.groupName(gnutls_group_get(session).rawValue)
    if let allowed = requirements.allowedGroups, !allowed.contains(where: { $0.rawValue == group })
    {
      throw TLSError(.noCommonParameters, "the server chose a group that is not allowed: \(group)")
    }
    let requested = unsafe gnutls_certificate_client_get_request_status(session) != 0
    return unsafe SessionFacts(
      version: version, cipher: cipher,
      mac: AlgorithmLists.macName(gnutls_mac_get(session).rawValue),
      keyExchange: AlgorithmLists.exchangeName(gnutls_kx_get(session).rawValue),
      group: group == "unknown" ? "" : group,
      authentication: try authentication(), identity: identity,
      unlistedCertificate: try proof?.get().unlisted,
      clientCertificateRequested: requested,
      clientCertificate: requested ? ownCertificate() : nil)
  }

  /// The certificate that this session's credentials chose to answer with.
  private func ownCertificate() -> CertificateFacts? {
    guard let datum = unsafe gnutls_certificate_get_ours(session),
      let start = unsafe datum.pointee.data
    else { return nil }
    let bytes = unsafe UnsafeBufferPointer(start: start, count: Int(datum.pointee.size))
    return unsafe Certificate(der: Array(bytes)).map(CertificateFacts.init)
  }

  private func authentication() throws(TLSError) -> SessionFacts.Authentication {
    let type = unsafe gnutls_auth_get_type(session)
    switch credentials {
    case .psk(let psk):
      guard type == GNUTLS_CRD_PSK else {
        throw TLSError(.notAuthenticated, "the server did not use the pre-shared key")
      }
      return .psk(identity: psk.identity)
    case .x509:
      guard type == GNUTLS_CRD_CERTIFICATE, case .success(let proof) = proof else {
        throw TLSError(.notAuthenticated, "the server did not prove a certificate")
      }
      return .x509(server: proof.certificate, chainLength: proof.chainLength)
    }
  }
}
