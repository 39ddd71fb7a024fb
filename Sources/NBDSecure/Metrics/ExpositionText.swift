// SPDX-License-Identifier: Apache-2.0

/// Collects samples, and writes those of one metric together, as the format demands.
struct ExpositionText {
  /// A metric, and what its HELP line says.
  struct Metric: Hashable {
    enum Kind: String { case gauge, counter, histogram }
    let name: String
    let kind: Kind
    let help: String

    init(_ name: String, _ kind: Kind, _ help: String) {
      self.name = "nbd_secure_" + name
      self.kind = kind
      self.help = help
    }
  }

  private var order: [Metric] = []
  private var samples: [Metric: [String]] = [:]

  /// Adds a sample of one attachment.
  ///
  /// - Parameter suffix: for histograms: `_bucket`, `_sum`, `_count`.
  mutating func add(
    _ metric: Metric, suffix: String = "", _ status: AttachmentStatus,
    _ labels: [(String, String)], _ value: Double
  ) {
    let device = status.device.split(separator: "/").last.map(String.init) ?? status.device
    let all = [("device", device), ("name", status.name ?? "")] + labels
    let text = all.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
    if samples[metric] == nil { order.append(metric) }
    samples[metric, default: []].append(
      "\(metric.name)\(suffix){\(text)} \(Self.number(value))\n")
  }

  /// All samples, metric by metric.
  var finished: String {
    var text = ""
    for metric in order {
      text +=
        "# HELP \(metric.name) \(metric.help)\n# TYPE \(metric.name) \(metric.kind.rawValue)\n"
      for sample in samples[metric, default: []] { text += sample }
    }
    return text
  }

  /// A label's value: a server's text must not begin a line of its own.
  static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": result += "\\\\"
      case "\"": result += "\\\""
      case "\n": result += "\\n"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// Whole numbers without a fraction: counters stay exact up to 2^53.
  static func number(_ value: Double) -> String {
    if let whole = Int64(exactly: value) { return String(whole) }
    return "\(value)"
  }
}

extension ExpositionText.Metric {
  static let info = Self("info", .gauge, "What is attached; always 1.")
  static let state = Self("state", .gauge, "1 for the state that the attachment is in.")
  static let stateSince = Self(
    "state_since_timestamp_seconds", .gauge, "When the attachment got into its state.")
  static let attachedSince = Self(
    "attached_timestamp_seconds", .gauge, "When it was attached or adopted.")
  static let size = Self("size_bytes", .gauge, "Size of the device.")
  static let reconnections = Self(
    "reconnections_total", .counter, "Connections that replaced a lost one.")
  static let attempts = Self(
    "reconnect_attempts", .gauge, "Failed attempts since the connection was lost.")
  static let serverNotAfter = Self(
    "server_certificate_not_after_timestamp_seconds", .gauge,
    "When the server's certificate expires.")
  static let clientNotAfter = Self(
    "client_certificate_not_after_timestamp_seconds", .gauge,
    "When the certificate that the server was shown expires.")
  static let bytesRead = Self("read_bytes_total", .counter, "Bytes read from the device.")
  static let bytesWritten = Self("written_bytes_total", .counter, "Bytes written to the device.")
  static let inFlight = Self("requests_in_flight", .gauge, "Requests under way.")
  static let requests = Self(
    "requests_total", .counter, "Requests completed, as the block layer counts them.")
  static let latency = Self(
    "request_duration_seconds", .histogram, "How long requests took through the relay.")
  static let requestSeconds = Self(
    "request_seconds_total", .counter, "Time that completed requests took in all.")
}
