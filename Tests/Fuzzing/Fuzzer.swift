// SPDX-License-Identifier: Apache-2.0
import Foundation

/// One target: what is done with the bytes that the fuzzer makes up. A trap, a report of a
/// sanitizer, or a promise that `require` finds broken ends the run.
struct Fuzzer: Sendable {
  let name: String
  let body: @Sendable ([UInt8]) -> Void

  static let all: [Fuzzer] = [
    Fuzzer(name: "negotiation", body: fuzzNegotiation),
    Fuzzer(name: "replies", body: fuzzReplies),
    Fuzzer(name: "chunks", body: fuzzChunks),
    Fuzzer(name: "uri", body: fuzzURI),
    Fuzzer(name: "psk", body: fuzzPSKFile),
    Fuzzer(name: "policy", body: fuzzPolicy),
    Fuzzer(name: "netlink", body: fuzzNetlink),
  ]

  /// The one that the environment names in NBD_SECURE_FUZZER.
  static let chosen: Fuzzer = {
    let name = ProcessInfo.processInfo.environment["NBD_SECURE_FUZZER"] ?? ""
    guard let found = all.first(where: { $0.name == name }) else {
      fatalError("NBD_SECURE_FUZZER must be one of \(all.map(\.name))")
    }
    return found
  }()
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  Fuzzer.chosen.body(Array(UnsafeBufferPointer(start: bytes, count: count)))
  return 0
}

/// A promise that holds whatever the input is.
func require(_ holds: Bool, _ promise: @autoclosure () -> String) {
  if !holds { fatalError("broken promise: \(promise())") }
}

/// What users are shown is one bounded line that no terminal obeys.
func requirePrintable(_ text: String) {
  require(text.utf8.count < 16_384, "messages are bounded")
  require(
    text.unicodeScalars.allSatisfy {
      $0.properties.generalCategory != .control && $0.properties.generalCategory != .lineSeparator
        && $0.properties.generalCategory != .paragraphSeparator
    }, "messages are one printable line: \(text.debugDescription)")
}

/// Takes the fuzzer's bytes apart.
struct Input {
  private(set) var rest: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { rest = bytes[...] }

  mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

  /// Exactly so many bytes; nil when there are fewer, and then what is left is gone.
  mutating func take(_ count: Int) -> [UInt8]? {
    guard rest.count >= count else {
      rest = []
      return nil
    }
    defer { rest = rest.dropFirst(count) }
    return Array(rest.prefix(count))
  }
}
