// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import NBDSecure

/// The exposition format, read by its rules: nothing that they do not allow passes.
struct Exposition {
  struct Sample: Equatable {
    var name: String
    var labels: [String: String]
    var value: Double
  }

  struct Malformed: Error { let line: String }

  private(set) var samples: [Sample] = []
  private(set) var types: [String: String] = [:]
  private(set) var helps: Set<String> = []

  init(_ text: String) throws {
    guard text.isEmpty || text.hasSuffix("\n") else { throw Malformed(line: "no last newline") }
    var current = ""
    var finished: Set<String> = []
    var seen: Set<String> = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
      let malformed = Malformed(line: String(line))
      if line.hasPrefix("#") {
        let words = line.split(separator: " ", maxSplits: 3).map(String.init)
        guard words.count == 4, words[0] == "#" else { throw malformed }
        let name = words[2]
        if name != current {
          guard finished.insert(name).inserted else { throw malformed }
          current = name
        }
        switch words[1] {
        case "HELP":
          guard helps.insert(name).inserted, types[name] == nil else { throw malformed }
        case "TYPE":
          guard ["gauge", "counter", "histogram"].contains(words[3]), types[name] == nil,
            name.wholeMatch(of: /[a-zA-Z_:][a-zA-Z0-9_:]*/) != nil,
            (words[3] == "counter") == name.hasSuffix("_total")
          else { throw malformed }
          types[name] = words[3]
        default: throw malformed
        }
        continue
      }
      let sample = try Self.sample(line)
      guard seen.insert(String(line.prefix { $0 != " " })).inserted || line.contains("\" ") else {
        throw malformed
      }
      let base =
        types[current] == "histogram"
        ? sample.name.replacing(/_(bucket|sum|count)$/, with: "") : sample.name
      guard base == current, types[current] != nil, helps.contains(current) else {
        throw malformed
      }
      samples.append(sample)
    }
    let keys = samples.map { "\($0.name) \($0.labels.sorted { $0.key < $1.key })" }
    guard Set(keys).count == keys.count else { throw Malformed(line: "twice the same sample") }
  }

  private static func sample(_ line: Substring) throws -> Sample {
    let malformed = Malformed(line: String(line))
    guard let open = line.firstIndex(of: "{") else { throw malformed }
    let name = String(line[..<open])
    guard name.wholeMatch(of: /[a-zA-Z_:][a-zA-Z0-9_:]*/) != nil else { throw malformed }
    var rest = line[line.index(after: open)...]
    var labels: [String: String] = [:]
    while let match = rest.prefixMatch(of: /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"/) {
      guard labels.updateValue(String(match.2), forKey: String(match.1)) == nil else {
        throw malformed
      }
      rest = rest[match.range.upperBound...]
      guard rest.first == "," else { break }
      rest = rest.dropFirst()
    }
    guard let value = rest.wholeMatch(of: /} (-?[0-9.e+-]+|\+Inf|-Inf|NaN)/).map({ Double($0.1) }),
      let value
    else { throw malformed }
    return Sample(name: name, labels: labels, value: value)
  }
}

@Suite struct MetricsTests {
  private func status(_ device: String, state: String = "connected") -> AttachmentStatus {
    AttachmentStatus(
      device: device, name: nil, state: state, since: 1_700_000_000, attachedSince: 1_600_000_000,
      server: "s\"\n\\ evil{}", address: "a", export: "e", size: 1 << 40, readOnly: false,
      blockSize: 512, connections: 1, dataPath: "relay", binding: "netlink", pid: 1, attempts: 2,
      lastError: nil, reconnections: 3, reconnectTimeout: 300, ioTimeout: 60, tls: nil,
      counters: AttachmentStatus.Counters(
        inFlight: 1, reads: 2, bytesRead: 1 << 52, writes: 4, bytesWritten: 5, flushes: 6,
        discards: 7, readMilliseconds: 1500, writeMilliseconds: 1, flushMilliseconds: 0,
        discardMilliseconds: 0))
  }

  private func value(
    _ metrics: Exposition, _ name: String, _ labels: [String: String]
  ) -> Double? {
    let found = metrics.samples.filter { sample in
      sample.name == "nbd_secure_\(name)" && labels.allSatisfy { sample.labels[$0.key] == $0.value }
    }
    return found.count == 1 ? found[0].value : nil
  }

  @Test func nothingAttachedIsNoMetric() throws {
    #expect(Metrics.exposition(of: []) == "")
  }

  @Test func formatIsKept() throws {
    var second = status("/dev/nbd1", state: "reconnecting")
    second.name = "data"
    second.tls = TLSReport(
      version: "TLS 1.3", cipher: "AES-256-GCM", keyExchange: "ECDHE", authentication: "x509",
      notAfter: 1_800_000_000, clientNotAfter: 1_700_086_400)
    var counts = [UInt64](repeating: 0, count: 17)
    (counts[0], counts[11], counts[16]) = (1, 2, 1)
    second.latency = LatencyHistogram(counts: counts, sum: 21.5)
    let metrics = try Exposition(Metrics.exposition(of: [status("/dev/nbd0"), second]))
    #expect(metrics.types.count > 10)
    #expect(value(metrics, "read_bytes_total", ["device": "nbd0"]) == 4_503_599_627_370_496)
    #expect(
      value(metrics, "request_seconds_total", ["device": "nbd0", "operation": "read"]) == 1.5)
    #expect(
      value(metrics, "request_seconds_total", ["device": "nbd1", "operation": "write"]) == 0.001)
    #expect(value(metrics, "state", ["device": "nbd1", "state": "reconnecting"]) == 1)
    #expect(value(metrics, "state", ["device": "nbd1", "state": "connected"]) == 0)
    #expect(value(metrics, "reconnections_total", ["name": "data"]) == 3)
    #expect(
      value(metrics, "server_certificate_not_after_timestamp_seconds", ["name": "data"])
        == 1_800_000_000)
    // Of the one that showed a certificate, and of no other.
    #expect(
      value(metrics, "client_certificate_not_after_timestamp_seconds", [:]) == 1_700_086_400)
    #expect(value(metrics, "request_duration_seconds_bucket", ["le": "0.0001"]) == 1)
    #expect(value(metrics, "request_duration_seconds_bucket", ["le": "0.5"]) == 3)
    #expect(value(metrics, "request_duration_seconds_bucket", ["le": "+Inf"]) == 4)
    #expect(value(metrics, "request_duration_seconds_count", [:]) == 4)
    #expect(value(metrics, "request_duration_seconds_sum", [:]) == 21.5)
    #expect(value(metrics, "info", ["server": "s\\\"\\n\\\\ evil{}", "device": "nbd0"]) == 1)
  }

  @Test func bucketsAreThoseOfTheBounds() {
    for (place, bound) in LatencyHistogram.bounds.enumerated() {
      let nanoseconds = UInt64((bound * 1e9).rounded())
      #expect(LatencyHistogram.bucket(of: nanoseconds) == place)
      #expect(LatencyHistogram.bucket(of: nanoseconds + 1) == place + 1)
    }
    #expect(LatencyHistogram.bucket(of: 0) == 0)
    #expect(LatencyHistogram.bucket(of: .max) == LatencyHistogram.bounds.count)
  }

  @Test func lanesAreCountedTogether() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("x.latency")
    let lanes = try LatencyCounters.make(path: path, lanes: 3)
    lanes[0].record(nanoseconds: 1000)
    lanes[2].record(nanoseconds: 1000)
    lanes[2].record(nanoseconds: 3_000_000_000)
    let histogram = try #require(LatencyCounters.read(path: path))
    #expect(histogram.counts.count == LatencyHistogram.bounds.count + 1)
    #expect(histogram.counts[0] == 2)
    #expect(histogram.counts[14] == 1)
    #expect(abs(histogram.sum - 3.000002) < 1e-9)
    #expect(LatencyCounters.read(path: directory.file("absent")) == nil)
    try directory.write("short", "abc")
    #expect(LatencyCounters.read(path: directory.file("short")) == nil)
  }

  @Test(arguments: AttachmentState.Link.allCases) func everyStateHasASample(
    _ link: AttachmentState.Link
  ) {
    #expect(Metrics.states.contains(link.rawValue))
  }

  @Test(arguments: [
    "a 1\n", "# TYPE a gauge\na{} 1\n", "# HELP a x\n# TYPE a gauge\nb{} 1\n",
    "# HELP a x\n# TYPE a counter\na{} 1\n", "# HELP a x\n# TYPE a gauge\na{b=\"c\n\"} 1\n",
    "# HELP a x\n# TYPE a gauge\na{} 1", "# HELP a x\n# TYPE a gauge\na{b=\"\"} 1\na{b=\"\"} 2\n",
    "# HELP a x\n# TYPE a gauge\na{b=c} 1\n", "# HELP a x\n# TYPE a gauge\na{b=\"c\"}1\n",
  ]) func parserIsStrict(_ text: String) {
    #expect(throws: Exposition.Malformed.self) { try Exposition(text) }
  }
}
