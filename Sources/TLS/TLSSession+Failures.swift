// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS
internal import SystemPackage

extension TLSSession {
  /// Where a session stands, for what its end means.
  enum Phase {
    case handshake
    case established
  }

  static func late(_ phase: Phase) -> TLSError {
    switch phase {
    case .handshake: TLSError(.deadline, "the server did not finish the TLS handshake in time")
    case .established: TLSError(.deadline, "the server did not answer in time")
    }
  }

  /// What an error code of the library means here.
  func failure(_ code: Int32, phase: Phase) -> TLSError {
    if case .failure(let error) = proof { return error }
    // A stream that ends inside a record has many names in the library.
    if unsafe cgt_channel_was_cut(channel) { return ended(orderly: false, phase: phase) }
    switch code {
    case GNUTLS_E_FATAL_ALERT_RECEIVED, GNUTLS_E_WARNING_ALERT_RECEIVED:
      return alert(phase)
    case GNUTLS_E_PREMATURE_TERMINATION:
      return ended(orderly: false, phase: phase)
    case GNUTLS_E_PULL_ERROR, GNUTLS_E_PUSH_ERROR:
      return lost(errno: unsafe cgt_channel_socket_error(channel), phase: phase)
    case GNUTLS_E_REHANDSHAKE:
      return TLSError(
        .renegotiation, "the server asked for a TLS renegotiation, which is never accepted")
    case GNUTLS_E_MEMORY_ERROR, GNUTLS_E_INTERNAL_ERROR, GNUTLS_E_RANDOM_FAILED,
      GNUTLS_E_INVALID_SESSION:
      return TLSError(.library, "the TLS library failed: \(TLSLibrary.text(for: code))")
    case GNUTLS_E_INSUFFICIENT_CREDENTIALS where phase == .handshake:
      return TLSError(
        .notAuthenticated,
        credentials.kind == .psk
          ? "the server did not use the pre-shared key" : "the server did not show a certificate")
    case GNUTLS_E_UNEXPECTED_PACKET
    where phase == .handshake && certificateWasRequested && hasFinishedTalking:
      // nbd-server answers in plaintext where it does not like a certificate.
      return certificateVerdict("answered it with something that is no TLS")
    case _ where phase == .handshake && hasTalkedTLS && TLSSession.disagreements.contains(code):
      return TLSError(
        .noCommonParameters,
        "the server chose what is not allowed here: \(TLSLibrary.text(for: code))",
        hint: code == GNUTLS_E_DH_PRIME_UNACCEPTABLE
          ? "give the server Diffie-Hellman parameters of 2048 bits or more"
          : "TLS 1.2 or 1.3 with an AEAD cipher is needed")
    default:
      return TLSError(
        .protocolViolation,
        phase == .handshake
          ? "the server's TLS handshake makes no sense: \(TLSLibrary.text(for: code))"
          : "a TLS record of the server makes no sense: \(TLSLibrary.text(for: code))")
    }
  }

  /// Whether the server has answered with a hello: before that, an unknown version is no TLS at all.
  private var hasTalkedTLS: Bool {
    unsafe gnutls_handshake_get_last_in(session) != GNUTLS_HANDSHAKE_HELLO_REQUEST
  }

  /// Whether our last message of the handshake is out, and the server's verdict on it awaited.
  private var hasFinishedTalking: Bool {
    unsafe gnutls_handshake_get_last_out(session) == GNUTLS_HANDSHAKE_FINISHED
  }

  /// What a failing socket means: a reset is how a bare close looks when data was under way.
  func lost(errno: Int32, phase: Phase) -> TLSError {
    if errno == Errno.badMessage.rawValue {
      return TLSError(.protocolViolation, "a TLS record of the server makes no sense")
    }
    if errno == Errno.connectionReset.rawValue || errno == Errno.brokenPipe.rawValue {
      return reasonBehindReset(phase) ?? ended(orderly: false, phase: phase)
    }
    return TLSError(
      .socket(errno), "the connection was lost: \(Errno(rawValue: errno))")
  }

  /// An alert that arrived before the reset says more than the reset.
  private func reasonBehindReset(_ phase: Phase) -> TLSError? {
    guard phase == .established, facts != nil, !isClosed else { return nil }
    var spare: [UInt8] = [0]
    let code = unsafe cgt_channel_receive(channel, &spare, spare.count)
    guard code == Int(GNUTLS_E_FATAL_ALERT_RECEIVED) else { return nil }
    return alert(phase)
  }

  private var certificateWasRequested: Bool {
    unsafe gnutls_certificate_client_get_request_status(session) != 0
  }

  private var certificateWasSent: Bool {
    unsafe certificateWasRequested && gnutls_certificate_get_ours(session) != nil
  }

  /// The server may still be judging what we sent.
  private func awaitsVerdict(_ phase: Phase) -> Bool { phase == .handshake || !hasReceivedData }

  /// The stream ended without an alert.
  func ended(orderly: Bool, phase: Phase) -> TLSError {
    if awaitsVerdict(phase) {
      switch credentials {
      case .psk(let psk) where phase == .handshake && !orderly:
        return TLSError(
          .peerRejectedOurKey,
          "the server closed the connection in the TLS handshake, as servers do that do not accept "
            + "the pre-shared key “\(Text.printable(psk.identity))”",
          hint: "compare identity and key with the server's key file")
      case .x509 where certificateWasRequested:
        return certificateVerdict("closed the connection after the TLS handshake")
      default: break
      }
    }
    if phase == .handshake {
      return TLSError(
        .closedInHandshake,
        "the server closed the connection in the TLS handshake without a reason",
        hint: credentials.kind == .x509
          ? "has the server a certificate? one for pre-shared keys alone needs --psk-file" : nil)
    }
    return TLSError(
      .closed(orderly: orderly),
      orderly
        ? "the server ended the TLS session" : "the connection ended without a TLS close_notify")
  }

  /// The server asked for a certificate and then wanted no more.
  private func certificateVerdict(_ what: String) -> TLSError {
    guard certificateWasSent else {
      return TLSError(
        .clientCertificateRequired, "the server wants a client certificate: it \(what)",
        hint: "put client-cert.pem and client-key.pem into the credentials directory")
    }
    return TLSError(
      .peerRejectedOurCertificate, "the server rejected our client certificate: it \(what)",
      hint: "the server must trust the authority that issued client-cert.pem, and not have revoked "
        + "the certificate")
  }

  /// The server said why.
  private func alert(_ phase: Phase) -> TLSError {
    let alert = unsafe gnutls_alert_get(session)
    let name = unsafe gnutls_alert_get_name(alert).map { unsafe String(cString: $0) }
    let said = "sent the alert “\(name ?? "\(alert.rawValue)")”"
    guard awaitsVerdict(phase) else {
      return TLSError(.endedByAlert, "the server ended the TLS session: it \(said)")
    }
    if case .psk(let psk) = credentials, TLSSession.alertsOfKeys.contains(alert.rawValue) {
      return TLSError(
        .peerRejectedOurKey,
        "the server does not accept the pre-shared key “\(Text.printable(psk.identity))”: it \(said)",
        hint: "compare identity and key with the server's key file")
    }
    if alert == GNUTLS_A_CERTIFICATE_REQUIRED { return certificateVerdict(said) }
    // Servers have many alerts for a certificate that is missing: GnuTLS of TLS 1.2 a decode error.
    if credentials.kind == .x509, certificateWasRequested,
      !certificateWasSent || TLSSession.alertsOfCertificates.contains(alert.rawValue)
    {
      return certificateVerdict(said)
    }
    if TLSSession.alertsOfParameters.contains(alert.rawValue) {
      return TLSError(
        .noCommonParameters, "the server and we have no TLS parameters in common: it \(said)",
        hint: credentials.kind == .psk
          ? "does the server accept pre-shared keys at all?"
          : "does the server have TLS 1.2 or 1.3, and a certificate?")
    }
    return TLSError(
      phase == .handshake ? .handshakeRefused : .endedByAlert,
      "the server ended the TLS handshake: it \(said)")
  }

  /// What the library says of a server whose choice is not among ours.
  private static let disagreements: Set<Int32> = [
    GNUTLS_E_NO_CIPHER_SUITES, GNUTLS_E_UNSUPPORTED_VERSION_PACKET, GNUTLS_E_UNWANTED_ALGORITHM,
    GNUTLS_E_DH_PRIME_UNACCEPTABLE, GNUTLS_E_INSUFFICIENT_SECURITY, GNUTLS_E_UNKNOWN_CIPHER_SUITE,
    GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM, GNUTLS_E_ECC_UNSUPPORTED_CURVE,
    GNUTLS_E_NO_COMMON_KEY_SHARE,
  ]

  private static let alertsOfKeys: Set<UInt32> = [
    GNUTLS_A_BAD_RECORD_MAC.rawValue, GNUTLS_A_ILLEGAL_PARAMETER.rawValue,
    GNUTLS_A_DECRYPT_ERROR.rawValue, GNUTLS_A_UNKNOWN_PSK_IDENTITY.rawValue,
    GNUTLS_A_ACCESS_DENIED.rawValue,
  ]

  private static let alertsOfCertificates: Set<UInt32> = [
    GNUTLS_A_BAD_CERTIFICATE.rawValue, GNUTLS_A_UNSUPPORTED_CERTIFICATE.rawValue,
    GNUTLS_A_CERTIFICATE_REVOKED.rawValue, GNUTLS_A_CERTIFICATE_EXPIRED.rawValue,
    GNUTLS_A_CERTIFICATE_UNKNOWN.rawValue, GNUTLS_A_UNKNOWN_CA.rawValue,
    GNUTLS_A_ACCESS_DENIED.rawValue, GNUTLS_A_DECRYPT_ERROR.rawValue,
    GNUTLS_A_SSL3_NO_CERTIFICATE.rawValue,
  ]

  private static let alertsOfParameters: Set<UInt32> = [
    GNUTLS_A_HANDSHAKE_FAILURE.rawValue, GNUTLS_A_PROTOCOL_VERSION.rawValue,
    GNUTLS_A_INSUFFICIENT_SECURITY.rawValue, GNUTLS_A_MISSING_EXTENSION.rawValue,
  ]
}
