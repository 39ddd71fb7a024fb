// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import SystemPackage

/// How long requests took through the relay, from the plain side's request to the server's reply, a
/// lost server included.
public struct LatencyHistogram: Codable, Sendable, Hashable {
  /// Upper ends of the buckets, seconds; one more bucket has no end.
  public static let bounds = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  ]

  /// Requests in each bucket, and in the one without an end.
  public var counts: [UInt64]
  /// Time that all of them took, seconds.
  public var sum: Double

  /// The bucket of a request that took so many nanoseconds. A comparison for each bound below: cheap
  /// enough for every reply.
  static func bucket(of nanoseconds: UInt64) -> Int {
    switch nanoseconds {
    case ...100_000: 0
    case ...250_000: 1
    case ...500_000: 2
    case ...1_000_000: 3
    case ...2_500_000: 4
    case ...5_000_000: 5
    case ...10_000_000: 6
    case ...25_000_000: 7
    case ...50_000_000: 8
    case ...100_000_000: 9
    case ...250_000_000: 10
    case ...500_000_000: 11
    case ...1_000_000_000: 12
    case ...2_500_000_000: 13
    case ...5_000_000_000: 14
    case ...10_000_000_000: 15
    default: 16
    }
  }
}

/// The counters of one attachment's requests, in a file that `status` reads.
struct LatencyCounters: Sendable {
  /// Buckets, their sum, and room up to a whole number of cache lines.
  private static let stride = 24
  private static let sumPlace = LatencyHistogram.bounds.count + 1

  private let counters: SharedCounters
  private let lane: Int

  /// - Parameter path: the file, made anew.
  static func make(path: String, lanes: Int) throws(Errno) -> [LatencyCounters] {
    let counters = try SharedCounters(path: path, count: lanes * stride)
    return (0..<lanes).map { LatencyCounters(counters: counters, lane: $0) }
  }

  /// Counts a request of this lane; only the lane's own thread calls it.
  func record(nanoseconds: UInt64) {
    let start = lane * Self.stride
    counters.add(1, at: start + LatencyHistogram.bucket(of: nanoseconds))
    counters.add(nanoseconds, at: start + Self.sumPlace)
  }

  /// What all lanes counted; nil where there is no such file.
  static func read(path: String) -> LatencyHistogram? {
    let limit = AttachRequest.maximumConnections * stride
    guard let values = try? SharedCounters.read(path, limit: limit), values.count >= stride else {
      return nil
    }
    var histogram = LatencyHistogram(
      counts: [UInt64](repeating: 0, count: sumPlace), sum: 0)
    for start in Swift.stride(from: 0, through: values.count - stride, by: stride) {
      for place in 0..<sumPlace { histogram.counts[place] &+= values[start + place] }
      histogram.sum += Double(values[start + sumPlace]) / 1e9
    }
    return histogram
  }
}
