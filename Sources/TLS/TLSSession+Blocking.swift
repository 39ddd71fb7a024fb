// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS
package import LinuxIO

extension TLSSession {
  /// Exactly that many bytes, for negotiation.
  package func readExactly(_ count: Int, deadline: Deadline) throws(TLSError) -> [UInt8] {
    var got = 0
    return try readExactly(count, deadline: deadline, counting: &got)
  }

  /// The same; `got` says how many of the bytes had come when it throws.
  package func readExactly(
    _ count: Int, deadline: Deadline, counting got: inout Int
  ) throws(TLSError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: max(count, 0))
    got = 0
    while got < bytes.count {
      let code = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe cgt_channel_receive(
          channel, buffer.baseAddress?.advanced(by: got), buffer.count - got)
      }
      let more = try outcome(code)
      if more == 0 {
        guard unsafe cgt_channel_buffered_input(channel) == 0 else {
          // Records without data, many at once: the deadline holds for them too.
          if deadline.hasPassed { throw TLSSession.late(.established) }
          continue
        }
        try send(until: deadline, orInput: true, phase: .established)
      }
      got += more
    }
    return bytes
  }

  /// Encrypts and writes all bytes.
  package func writeAll(_ bytes: [UInt8], deadline: Deadline) throws(TLSError) {
    var done = 0
    while done < bytes.count {
      let code = unsafe bytes.withUnsafeBytes { buffer in
        unsafe cgt_channel_send(
          channel, buffer.baseAddress?.advanced(by: done), buffer.count - done)
      }
      guard code >= 0 else { throw failure(Int32(clamping: code), phase: .established) }
      done += code
      if done < bytes.count { try send(until: deadline, orInput: false, phase: .established) }
    }
    try drain(until: deadline, phase: .established)
  }

  /// Ends our direction in good order, within the deadline and never longer than a second.
  ///
  /// What the server still sends is dropped: closing a socket with unread input would reset the
  /// connection, and could lose what we sent last.
  package func close(deadline: Deadline) {
    guard !isClosed else { return }
    isClosed = true
    let deadline = min(deadline, .after(seconds: 1))
    if facts != nil {
      _ = unsafe gnutls_bye(session, GNUTLS_SHUT_WR)
      do { try drain(until: deadline, phase: .established) } catch { return shutdownSocket() }
    }
    guard cgt_shutdown(rawDescriptor, true) == 0 else { return }
    while !deadline.hasPassed, unsafe cgt_channel_discard_input(channel) == 0 {
      let ready = unsafe cgt_channel_wait(channel, true, deadline.remainingMilliseconds)
      guard ready > 0 else { break }
    }
  }

  /// Sends what is buffered, all of it.
  func drain(until deadline: Deadline, phase: Phase) throws(TLSError) {
    while unsafe cgt_channel_pending_output(channel) > 0 {
      if try writeOnce(phase) { return }
      try wait(forInput: false, until: deadline, phase: phase)
    }
  }

  /// Sends what the socket takes, then waits until it takes more or, if wanted, there is input.
  func send(until deadline: Deadline, orInput: Bool, phase: Phase) throws(TLSError) {
    let empty = try writeOnce(phase)
    if empty && !orInput { return }
    try wait(forInput: orInput, until: deadline, phase: phase)
  }

  func writeOnce(_ phase: Phase) throws(TLSError) -> Bool {
    let result = unsafe cgt_channel_flush(channel)
    guard result >= 0 else { throw lost(errno: -result, phase: phase) }
    return result == 1
  }

  func wait(forInput: Bool, until deadline: Deadline, phase: Phase) throws(TLSError) {
    let result = unsafe cgt_channel_wait(channel, forInput, deadline.remainingMilliseconds)
    if result == 0 { throw TLSSession.late(phase) }
    guard result > 0 else { throw lost(errno: -result, phase: phase) }
    // A peer that keeps the socket ready for ever does not get past the deadline either.
    if deadline.hasPassed { throw TLSSession.late(phase) }
  }
}
