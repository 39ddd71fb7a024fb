// SPDX-License-Identifier: Apache-2.0
import NBDProtocol

/// A server's whole side of the handshake. The first byte chooses what is wanted, the rest is what
/// the server says, in plaintext and inside TLS alike.
func fuzzNegotiation(_ bytes: [UInt8]) {
  var input = Input(bytes)
  let choice = input.byte()
  guard let name = try? ExportName(choice & 4 == 0 ? "" : "disk") else { return }
  let goals: [Goal] = [.list, .info(name), .attach(name)]
  let security: Security = choice & 8 == 0 ? .tlsRequired : .plaintext
  var machine = Negotiation(
    goal: goals[Int(choice & 3) % 3], security: security,
    extensions: choice & 16 == 0 ? .none : .blockStatus)
  var isSecure = false
  var sentBeforeTLS: [UInt8] = []
  var steps = 0
  do throws(NegotiationError) {
    while true {
      steps += 1
      require(steps < 100_000, "every step uses input or ends")
      switch try machine.next() {
      case .send(let bytes):
        require(!bytes.isEmpty, "nothing is not sent")
        if !isSecure { sentBeforeTLS += bytes }
      case .receive(let count):
        require(count > 0 && count <= 16_384, "reads are bounded: \(count)")
        guard let bytes = input.take(count) else {
          let error = machine.endOfStream(after: 0)
          requirePrintable(error.message)
          throw error
        }
        try machine.received(bytes)
      case .startTLS:
        require(security == .tlsRequired && !isSecure, "TLS starts once, where it is required")
        isSecure = true
      case .finished(let verdict):
        require(security == .plaintext || isSecure, "no verdict without TLS")
        check(verdict)
        if security == .tlsRequired { checkClear(sentBeforeTLS) }
        return finish(&machine)
      }
    }
  } catch {
    requirePrintable(error.message)
    if security == .tlsRequired {
      checkClear(sentBeforeTLS)
      if !isSecure { require(machine.farewell == nil, "nothing is said in plaintext") }
    }
  }
  finish(&machine)
}

/// Before TLS: the client's flags, and one option without data.
private func checkClear(_ sent: [UInt8]) {
  let option: [UInt8] = Array("IHAVEOPT".utf8) + [0, 0, 0, 5, 0, 0, 0, 0]
  require(
    sent.isEmpty || (sent.count == 20 && Array(sent[4...]) == option),
    "nothing but STARTTLS is sent in plaintext: \(sent)")
}

private func check(_ verdict: Verdict) {
  switch verdict {
  case .listing(let exports): require(exports.count <= 10_000, "listings are bounded")
  case .info(let export), .ready(let export):
    require(export.size < Export.sizeLimit, "sizes are below 2^63")
    if let sizes = export.blockSizes {
      require(
        sizes.minimum.nonzeroBitCount == 1 && sizes.minimum <= sizes.preferred
          && sizes.preferred <= sizes.maximum, "block sizes make sense")
    }
  }
}

private func finish(_ machine: inout Negotiation) {
  for line in machine.takeTrace() { requirePrintable(line) }
  _ = machine.farewell
  _ = machine.missing
}
