// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

extension TLSSession {
  /// The next decrypted bytes, without waiting and without allocating: how many there are, or 0 when
  /// nothing complete has come. Ask `hasBufferedInput` before polling.
  ///
  /// Throws `closed` when the peer has ended the stream.
  @inline(__always)
  package func receive(into buffer: UnsafeMutableRawBufferPointer) throws(TLSError) -> Int {
    let code = unsafe cgt_channel_receive(channel, buffer.baseAddress, buffer.count)
    if code > 0 {
      hasReceivedData = true
      return code
    }
    return try outcome(code)
  }

  /// Whether bytes can be had without the socket becoming readable: decrypted ones, or raw ones in
  /// our buffer, which may be only part of a record.
  package var hasBufferedInput: Bool { unsafe cgt_channel_buffered_input(channel) > 0 }

  /// Encrypts into the output buffer, in records as large as there are bytes for: how many were
  /// taken, 0 when the buffer has no room before the next flush. Touches no socket.
  @inline(__always)
  package func send(_ bytes: UnsafeRawBufferPointer) throws(TLSError) -> Int {
    let code = unsafe cgt_channel_send(channel, bytes.baseAddress, bytes.count)
    guard code >= 0 else { throw failure(Int32(clamping: code), phase: .established) }
    return code
  }

  /// One system call for all that is buffered; whether nothing is left.
  @inline(__always)
  package func flush() throws(TLSError) -> Bool {
    let result = unsafe cgt_channel_flush(channel)
    guard result >= 0 else { throw lost(errno: -result, phase: .established) }
    return result == 1
  }

  /// Encrypted bytes that wait for the socket.
  package var pendingOutput: Int { unsafe cgt_channel_pending_output(channel) }

  /// After how many records of ours GnuTLS renews our keys in mid-session. Servers that use one
  /// session on several threads (nbdkit) may not survive that while requests are in flight: connect
  /// anew before. Nil where it never happens, in TLS 1.2 and with CHACHA20.
  package var recordsBeforeKeyUpdate: UInt64? {
    guard let facts, facts.version == .v13, facts.cipher != .chacha20Poly1305 else { return nil }
    return 1 << 24
  }

  /// How many records of data were sent.
  package var recordsSent: UInt64 { unsafe cgt_channel_records_sent(channel) }

  /// The most that `pendingOutput` can be.
  package static var outputCapacity: Int { cgt_channel_output_capacity() }

  /// What a receive that returned no data means.
  func outcome(_ code: Int) throws(TLSError) -> Int {
    if code > 0 {
      hasReceivedData = true
      return code
    }
    switch Int32(clamping: code) {
    case 0:
      throw ended(orderly: true, phase: .established)
    case GNUTLS_E_AGAIN, GNUTLS_E_INTERRUPTED:
      return 0
    case GNUTLS_E_WARNING_ALERT_RECEIVED
    where unsafe gnutls_alert_get(session) != GNUTLS_A_CLOSE_NOTIFY:
      // Nothing of an established session hangs on a warning; the next record says how it goes on.
      return 0
    case let error:
      throw failure(error, phase: .established)
    }
  }
}
