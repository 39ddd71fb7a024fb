// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import TLS

/// A connection whose negotiation is done.
struct Connection {
  /// What negotiation came to.
  let verdict: Verdict
  /// The way to the server, for the transmission phase.
  let channel: any Channel
  /// What the TLS session proved; nil in plaintext.
  let facts: SessionFacts?
  /// Where we are connected.
  let address: SocketAddress
  /// What to send when parting from the server.
  let farewell: [UInt8]?
  /// What was agreed on beyond simple replies.
  var agreement = Agreement()
  /// What policy makes of it.
  let policy: PolicyParameters

  /// The export, where negotiation was about one.
  var export: Export? {
    switch verdict {
    case .info(let export), .ready(let export): export
    case .listing: nil
    }
  }
}
