// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS
package import LinuxIO

/// A TLS client session over a connected stream socket, which it owns: from here on nothing can be
/// written in plaintext.
///
/// One thread at a time, except for `shutdownSocket`. Two threads on one session would break at the
/// first KeyUpdate of TLS 1.3.
@safe package final class TLSSession {
  /// The socket, for polling.
  package let rawDescriptor: Int32
  /// What the handshake proved; nil before it has succeeded.
  package internal(set) var facts: SessionFacts?

  let channel: OpaquePointer
  let session: gnutls_session_t
  let credentials: Credentials
  let identity: ServerIdentity
  let requirements: TLSRequirements
  /// Set by the verification inside the handshake.
  var proof: Result<PeerVerification.Proof, TLSError>?
  /// Whether any application data has come: until then the server may still be about to reject us.
  var hasReceivedData = false
  var isClosed = false
  private var socket: Descriptor?

  /// Prepares the session; nothing is sent before `handshake`.
  ///
  /// Throws what is wrong with the requirements (usage, configuration), never anything of the peer.
  package init(
    socket: consuming Descriptor, credentials: Credentials, identity: ServerIdentity,
    requirements: TLSRequirements
  ) throws(TLSError) {
    TLSLibrary.prepare()
    let isPSK = credentials.kind == .psk
    let priority = try PriorityString(psk: isPSK, requirements: requirements)
    if isPSK, !requirements.pins.isEmpty {
      throw TLSError(
        .invalidIdentity, "a pin needs a server with a certificate, not a pre-shared key")
    }
    if !isPSK, identity == .none {
      throw TLSError(
        .invalidIdentity, "there is no name to verify the server's certificate against",
        hint: "give the name with --tls-hostname")
    }
    rawDescriptor = socket.raw
    self.credentials = credentials
    self.identity = identity
    self.requirements = requirements
    guard let channel = unsafe cgt_channel_new(socket.raw),
      let session = unsafe cgt_channel_session(channel)
    else { throw TLSError(.library, "out of memory for a TLS session") }
    unsafe self.channel = channel
    unsafe self.session = session
    self.socket = consume socket
    try configure(priority)
  }

  deinit { unsafe cgt_channel_free(channel) }

  private func configure(_ priority: PriorityString) throws(TLSError) {
    try check(unsafe gnutls_priority_set_direct(session, priority.text, nil))
    unsafe gnutls_session_set_ptr(session, Unmanaged.passUnretained(self).toOpaque())
    switch credentials {
    case .x509(let x509):
      try check(
        unsafe gnutls_credentials_set(
          session, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(x509.handle)))
      unsafe gnutls_session_set_verify_function(session) { session in
        guard let session = unsafe session, let own = unsafe gnutls_session_get_ptr(session) else {
          return GNUTLS_E_CERTIFICATE_ERROR
        }
        return unsafe Unmanaged<TLSSession>.fromOpaque(own).takeUnretainedValue().verifyPeer()
      }
    case .psk(let psk):
      try check(
        unsafe gnutls_credentials_set(
          session, GNUTLS_CRD_PSK, UnsafeMutableRawPointer(psk.handle)))
    }
    // RFC 6066, 3: literal addresses are not permitted in server_name.
    if case .dns(let name) = identity {
      try check(unsafe gnutls_server_name_set(session, GNUTLS_NAME_DNS, name, name.utf8.count))
    }
  }

  private func check(_ code: Int32) throws(TLSError) {
    guard code < 0 else { return }
    throw TLSError(.library, "the TLS library failed: \(TLSLibrary.text(for: code))")
  }

  /// Runs in the handshake, when the server's certificates are there.
  private func verifyPeer() -> Int32 {
    guard case .x509(let x509) = credentials else { return GNUTLS_E_CERTIFICATE_ERROR }
    let verification = PeerVerification(
      identity: identity, pins: requirements.pins, trustSource: x509.trustSource,
      revocation: unsafe x509.revocation)
    do {
      proof = .success(try unsafe verification.verify(session))
      return 0
    } catch {
      proof = .failure(error)
      return GNUTLS_E_CERTIFICATE_ERROR
    }
  }

  /// Ends both directions of the connection at once. May be called from another thread, while the
  /// session lives.
  package func shutdownSocket() { _ = cgt_shutdown(rawDescriptor, false) }

  /// Gives the socket back after its keys have gone to the kernel. Sends nothing: the kernel owns
  /// the record numbers now.
  package func releaseSocketAfterKernelTLS() throws(TLSError) -> Descriptor {
    guard let released = socket.take() else {
      throw TLSError(.notTransferable, "the session has no socket any more")
    }
    isClosed = true
    return released
  }
}
