// SPDX-License-Identifier: Apache-2.0

import NBDProtocol

/// A negotiation against a server whose bytes are all known beforehand. The stream ends with them.
struct Conversation {
  var machine: Negotiation
  /// All that the client sent, and when TLS began (nil: never) in bytes sent before.
  var sent: [UInt8] = []
  var sentBeforeTLS: Int?
  var verdict: Verdict?
  var error: NegotiationError?
  /// Bytes of the script never asked for.
  var unread = 0
  var trace: [String] = []

  /// In plaintext, which was allowed.
  init(
    _ goal: Goal, extensions: Extensions = .none, limits: Limits = .default, _ script: [UInt8]
  ) {
    self.init(goal, .plaintext, extensions: extensions, limits: limits, script)
  }

  init(
    _ goal: Goal, _ security: Security, extensions: Extensions = .none, limits: Limits = .default,
    _ script: [UInt8]
  ) {
    machine = Negotiation(goal: goal, security: security, extensions: extensions, limits: limits)
    var rest = script[...]
    do throws(NegotiationError) {
      // A bound for the randomised tests: each step consumes input or is one of a few sends.
      conversation: for _ in 0...(2 * script.count + 100) {
        switch try machine.next() {
        case .send(let bytes): sent += bytes
        case .startTLS: sentBeforeTLS = sent.count
        case .finished(let verdict):
          self.verdict = verdict
          break conversation
        case .receive(let count):
          guard rest.count >= count else { throw machine.endOfStream(after: rest.count) }
          let bytes = Array(rest.prefix(count))
          rest = rest.dropFirst(count)
          try machine.received(bytes)
        }
      }
    } catch {
      self.error = error
    }
    unread = rest.count
    trace = machine.takeTrace()
  }

  var export: Export? {
    switch verdict {
    case .info(let export), .ready(let export): export
    default: nil
    }
  }
}

/// The name in a test.
func name(_ string: String) -> ExportName {
  (try? ExportName(string)) ?? .defaultExport
}
