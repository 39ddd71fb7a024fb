// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import TLS

/// Drives a `Negotiation` over a transport: first a plain one up to STARTTLS, then another.
struct Dialogue {
  private var negotiation: Negotiation
  private let server: String
  private let deadline: Deadline
  private let trace: (String) -> Void

  init(
    negotiation: Negotiation, server: String, deadline: Deadline,
    trace: @escaping (String) -> Void
  ) {
    self.negotiation = negotiation
    self.server = server
    self.deadline = deadline
    self.trace = trace
  }

  /// What to send when parting from the server; nil where nothing should be.
  var farewell: [UInt8]? { negotiation.farewell }

  /// What was agreed on beyond simple replies.
  var agreement: Agreement { negotiation.agreement }

  /// Negotiates up to the STARTTLS acknowledgement, and makes sure that nothing follows it.
  mutating func untilStartTLS(over transport: borrowing PlainTransport) throws(NBDSecureError) {
    guard try run(over: transport) == nil else {
      throw NBDSecureError(.protocolViolation, "\(server): negotiation ended without TLS")
    }
    let unread: Bool
    do { unread = try transport.hasUnreadInput() } catch {
      throw failure(error, awaited: "no TLS handshake")
    }
    // Bytes buffered behind the STARTTLS ack came in plaintext: refuse them, never parse them.
    if unread {
      throw NBDSecureError(
        .protocolViolation,
        "\(server): plaintext follows the STARTTLS acknowledgement",
        hint: "someone in the network may be injecting data; nothing was sent")
    }
  }

  /// Negotiates to the end.
  mutating func finish<T: NegotiationTransport & ~Copyable>(
    over transport: borrowing T
  ) throws(NBDSecureError) -> Verdict {
    guard let verdict = try run(over: transport) else {
      throw NBDSecureError(.protocolViolation, "\(server): STARTTLS where TLS is on already")
    }
    return verdict
  }

  /// Runs until the verdict; nil when TLS must start now.
  private mutating func run<T: NegotiationTransport & ~Copyable>(
    over transport: borrowing T
  ) throws(NBDSecureError) -> Verdict? {
    while true {
      defer { negotiation.takeTrace().forEach(trace) }
      let step: Negotiation.Step
      do { step = try negotiation.next() } catch {
        abort(over: transport)
        throw NBDSecureError(error, server: server)
      }
      switch step {
      case .startTLS: return nil
      case .finished(let verdict): return verdict
      case .send(let bytes):
        do { try transport.write(bytes, by: deadline) } catch {
          throw failure(error, awaited: "the server takes no option")
        }
      case .receive(let count):
        let bytes: [UInt8]
        do { bytes = try transport.read(exactly: count, by: deadline) } catch {
          throw failure(error, awaited: negotiation.missing)
        }
        do { try negotiation.received(bytes) } catch {
          abort(over: transport)
          throw NBDSecureError(error, server: server)
        }
      }
    }
  }

  /// NBD_OPT_ABORT as a courtesy; whether it arrives does not matter.
  private func abort<T: NegotiationTransport & ~Copyable>(over transport: borrowing T) {
    guard let bytes = negotiation.farewell else { return }
    try? transport.write(bytes, by: min(.after(seconds: 1), deadline))
  }

  private func failure(_ error: TransportError, awaited: String) -> NBDSecureError {
    switch error {
    case .ended(let count):
      return NBDSecureError(negotiation.endOfStream(after: count), server: server)
    case .timedOut:
      return NBDSecureError(
        .timedOut, "\(server): timed out: \(awaited)",
        hint: "the server or the network is silent; --connect-timeout allows more time")
    case .failed(let errno):
      return NBDSecureError(
        .unavailable, "\(server): the connection failed: \(errno)", underlying: errno)
    case .tls(let error, let count):
      // What the end of the stream means is the negotiation's to say, as it is without TLS.
      guard case .closed(let orderly) = error.kind else {
        return NBDSecureError(error, server: server)
      }
      let end = NBDSecureError(negotiation.endOfStream(after: count), server: server)
      return NBDSecureError(
        end.code, orderly ? end.summary : "\(end.summary), without a TLS close_notify",
        hint: end.hint, underlying: error)
    }
  }
}
