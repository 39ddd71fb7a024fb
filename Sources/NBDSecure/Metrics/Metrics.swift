// SPDX-License-Identifier: Apache-2.0

/// What monitoring wants to know, in Prometheus' text exposition format (version 0.0.4).
public enum Metrics {
  /// The states that an attachment can be in; exactly one is 1.
  static let states = [
    "connected", "reconnecting", "failed", "unsupervised", "orphaned", "releasing", "unknown",
  ]

  /// One text for the textfile collector.
  public static func exposition(of attachments: [AttachmentStatus]) -> String {
    var text = ExpositionText()
    describe(attachments, in: &text)
    for status in attachments { text.counters(of: status) }
    return text.finished
  }

  private static func describe(_ attachments: [AttachmentStatus], in text: inout ExpositionText) {
    for status in attachments {
      text.add(
        .info, status,
        [
          ("server", status.server ?? ""), ("export", status.export ?? ""),
          ("data_path", status.dataPath ?? ""), ("binding", status.binding ?? ""),
          ("tls_version", status.tls?.version ?? ""), ("cipher", status.tls?.cipher ?? ""),
        ], 1)
      for state in states {
        text.add(.state, status, [("state", state)], status.state == state ? 1 : 0)
      }
      if let since = status.since { text.add(.stateSince, status, [], Double(since)) }
      if let since = status.attachedSince { text.add(.attachedSince, status, [], Double(since)) }
      text.add(.size, status, [], Double(status.size))
      text.add(.reconnections, status, [], Double(status.reconnections ?? 0))
      text.add(.attempts, status, [], Double(status.attempts ?? 0))
      if let end = status.tls?.notAfter { text.add(.serverNotAfter, status, [], Double(end)) }
      if let end = status.tls?.clientNotAfter {
        text.add(.clientNotAfter, status, [], Double(end))
      }
    }
  }
}

extension ExpositionText {
  fileprivate mutating func counters(of status: AttachmentStatus) {
    let counters = status.counters
    add(.bytesRead, status, [], Double(counters.bytesRead))
    add(.bytesWritten, status, [], Double(counters.bytesWritten))
    add(.inFlight, status, [], Double(counters.inFlight))
    for (operation, count, milliseconds) in [
      ("read", counters.reads, counters.readMilliseconds),
      ("write", counters.writes, counters.writeMilliseconds),
      ("flush", counters.flushes, counters.flushMilliseconds),
      ("discard", counters.discards, counters.discardMilliseconds),
    ] {
      add(.requests, status, [("operation", operation)], Double(count))
      add(.requestSeconds, status, [("operation", operation)], Double(milliseconds) / 1000)
    }
    guard let latency = status.latency else { return }
    var below: UInt64 = 0
    for (count, bound) in zip(latency.counts, LatencyHistogram.bounds.map { "\($0)" } + ["+Inf"]) {
      below &+= count
      add(.latency, suffix: "_bucket", status, [("le", bound)], Double(below))
    }
    add(.latency, suffix: "_sum", status, [], latency.sum)
    add(.latency, suffix: "_count", status, [], Double(below))
  }
}
