// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Nothing in plaintext, and nothing that was not checked: the program and nbdkit, with somebody on
/// the wire.
@Suite struct WiretapTests {
  private static let marker = "marker-4f1d2c9e"

  private static let sessions: [ServerTLS] = [
    .required(.x509, .v12), .required(.x509, nil), .required(.psk, .v12), .required(.psk, nil),
  ]

  private let pki: PKI

  init() throws { pki = try PKI.shared.get() }

  private func nbdkit(_ tls: ServerTLS = .required(.x509, nil)) throws -> Server {
    try Server(
      ServerConfiguration(
        .nbdkit, tls: tls, export: Self.marker, exportDescription: "about " + Self.marker))
  }

  private func ask(
    _ verb: String, _ port: Int, _ security: [String], timeout: Int = 20
  ) throws -> Outcome {
    try nbdSecure(
      [verb, "--quiet", "--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(port)"]
        + ["--connect-timeout", "\(timeout)"] + security
        + (verb == "info" ? ["--export", Self.marker] : []))
  }

  private func contains(_ bytes: [UInt8], _ text: String) -> Bool {
    Data(bytes).range(of: Data(text.utf8)) != nil
  }

  @Test(
    arguments: ["info", "list"],
    [
      ServerTLS.required(.x509, .v12), .required(.x509, nil), .required(.psk, .v12),
      .required(.psk, nil), .required(.x509WithClientCertificate, nil),
    ])
  func namesNeverCrossInTheClear(_ verb: String, _ tls: ServerTLS) throws {
    let server = try nbdkit(tls)
    let tap = try Wiretap(to: server.port)
    let seen = try ask(verb, tap.port, server.credentials)
    #expect(seen.status == 0, "\(seen)")
    #expect(seen.stdout.contains(Self.marker))
    let tape = try tap.tape()
    #expect(!contains(tape.bytes(.toServer), Self.marker))
    #expect(!contains(tape.bytes(.toClient), Self.marker))
    // What is in the clear is the client's flags and one option without data.
    let first = Array(tape.bytes(.toServer).prefix(21))
    #expect(
      first == Wire.be(UInt32(3)) + Wire.be(Wire.optionMagic) + Wire.be(Wire.Option.startTLS)
        + Wire.be(UInt32(0)) + [0x16])
  }

  /// The tap can see: without TLS the same marker is there.
  @Test func theTapSeesPlaintext() throws {
    let server = try nbdkit(.off)
    let tap = try Wiretap(to: server.port)
    let seen = try ask("info", tap.port, ["--allow-plaintext"])
    #expect(seen.status == 0, "\(seen)")
    #expect(try contains(tap.tape().bytes(.toServer), Self.marker))
  }

  @Test(arguments: sessions) func aReplayedServerIsRefused(_ tls: ServerTLS) throws {
    let server = try nbdkit(tls)
    let tap = try Wiretap(to: server.port)
    #expect(try ask("info", tap.port, server.credentials).status == 0)
    let tape = try tap.tape()

    let paced = try FakeServer(.ipv4) { connection in
      for chunk in tape.chunks {
        switch chunk.direction {
        case .toServer: try connection.receive(chunk.bytes.count)
        case .toClient: try connection.send(chunk.bytes)
        }
      }
    }
    let seen = try ask("info", paced.port, server.credentials, timeout: 5)
    #expect(
      seen.deviations(status: 76) == [] || seen.deviations(status: 77) == []
        || seen.deviations(status: 75) == [], "\(seen)")
    #expect(try !contains(paced.finished().record.wire, Self.marker))

    let hasty = try FakeServer(.ipv4) { try $0.send(tape.bytes(.toClient)) }
    let other = try ask("info", hasty.port, server.credentials)
    #expect(other.deviations(status: 76, saying: ["plaintext follows"]) == [])
  }

  @Test(arguments: sessions) func noFlippedBitGoesUnnoticed(_ tls: ServerTLS) throws {
    let server = try nbdkit(tls)
    let tap = try Wiretap(to: server.port)
    let honest = try ask("info", tap.port, server.credentials)
    #expect(honest.status == 0, "\(honest)")
    let map = TapeMap(try tap.tape())
    var statuses: [Int32: Int] = [:]
    for (number, place) in map.sample(count: 48).enumerated() {
      let mask = UInt8(1) << UInt8(number % 8)
      let bent = try Wiretap(
        to: server.port,
        flip: Wiretap.Flip(direction: place.direction, position: place.position, mask: mask))
      let seen = try ask("info", bent.port, server.credentials, timeout: 2)
      statuses[seen.status, default: 0] += 1
      if place.isIgnorable, seen.status == 0 {
        #expect(seen.stdout == honest.stdout.replacing("\(tap.port)", with: "\(bent.port)"))
        continue
      }
      // 75: a length that grew, and nobody sends what it promises. 78: a server that says no to TLS.
      let allowed: Set<Int32> = place.isBeforeTLS ? [75, 76, 78] : [75, 76, 77]
      #expect(allowed.contains(seen.status), "\(place), mask \(mask): \(seen)")
      #expect(seen.stdout.isEmpty)
    }
    #expect(statuses[76, default: 0] > 10, "\(statuses)")
  }
}

/// What is where on a tape: the clear bytes, and the TLS records up to the program's farewell.
struct TapeMap {
  struct Place: CustomStringConvertible {
    let direction: Wiretap.Direction
    let position: Int
    let isBeforeTLS: Bool
    /// Carries no meaning by the protocol: flags that are reserved, the version in the header of a
    /// record in the clear, and TLS 1.3's change_cipher_spec. To go on, unimpressed, is right.
    let isIgnorable: Bool
    var description: String { "byte \(position) \(direction)\(isIgnorable ? ", ignorable" : "")" }
  }

  private var toServer: [Place] = []
  private var toClient: [Place] = []

  init(_ tape: Wiretap.Tape) {
    let requests = tape.bytes(.toServer)
    toServer = Self.places(.toServer, requests, clear: 20, ignorable: 0..<4)
    // The last record but one is NBD_OPT_ABORT, the last one close_notify: by then all is known.
    toServer = Self.withoutLastRecords(2, requests, clear: 20, toServer)
    var heard = 0
    var said = 0
    for chunk in tape.chunks where said < toServer.count {
      if chunk.direction == .toServer {
        said += chunk.bytes.count
      } else {
        heard += chunk.bytes.count
      }
    }
    // The answer to the last option that mattered.
    var seen = 0
    for chunk in tape.chunks {
      if chunk.direction == .toServer { seen += chunk.bytes.count }
      if chunk.direction == .toServer, seen > toServer.count { break }
      if chunk.direction == .toClient, seen >= toServer.count { heard += chunk.bytes.count }
    }
    let replies = Array(tape.bytes(.toClient).prefix(heard))
    toClient = Self.places(.toClient, replies, clear: 38, ignorable: 16..<18)
  }

  /// Evenly spread, more densely where lengths and types are; the same in each run.
  func sample(count: Int) -> [Place] {
    [toClient.prefix(60), toClient.dropFirst(60), toServer[...]].flatMap { part in
      let step = max(1, part.count / (count / 3))
      return stride(from: step / 2, to: part.count, by: step).map { part[part.startIndex + $0] }
    }
  }

  private static func places(
    _ direction: Wiretap.Direction, _ bytes: [UInt8], clear: Int, ignorable: Range<Int>
  ) -> [Place] {
    var meaningless = Set(ignorable)
    for record in records(bytes, from: clear) where bytes[record.lowerBound] != 23 {
      meaningless.formUnion([record.lowerBound + 1, record.lowerBound + 2])
      if bytes[record.lowerBound] == 20 { meaningless.formUnion(record) }
    }
    return bytes.indices.map { position in
      Place(
        direction: direction, position: position, isBeforeTLS: position < clear,
        isIgnorable: meaningless.contains(position))
    }
  }

  private static func records(_ bytes: [UInt8], from start: Int) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var next = start
    while next + 5 <= bytes.count {
      let end = next + 5 + (Int(bytes[next + 3]) << 8 | Int(bytes[next + 4]))
      found.append(next..<min(end, bytes.count))
      next = end
    }
    return found
  }

  private static func withoutLastRecords(
    _ count: Int, _ bytes: [UInt8], clear: Int, _ places: [Place]
  ) -> [Place] {
    let kept = records(bytes, from: clear).dropLast(count)
    return Array(places.prefix(kept.last?.upperBound ?? clear))
  }
}
