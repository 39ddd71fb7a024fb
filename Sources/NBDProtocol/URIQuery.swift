// SPDX-License-Identifier: Apache-2.0

/// The query of an NBD URI: known keys only, each once, with a value.
struct URIQuery {
  enum Key: String {
    case socket
    case tlsCertificates = "tls-certificates"
    case tlsPSKFile = "tls-psk-file"
    case tlsHostname = "tls-hostname"
    case tlsVerifyPeer = "tls-verify-peer"
    case tlsType = "tls-type"
  }

  private var values: [Key: String] = [:]

  init(_ text: Substring?) throws(NBDURIError) {
    guard let text, !text.isEmpty else { return }
    for pair in text.split(separator: "&", omittingEmptySubsequences: false) {
      let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = try PercentEncoding.decode(halves.first ?? "", in: "a key")
      guard let key = Key(rawValue: name) else { throw .unknownKey(name) }
      guard values[key] == nil else { throw .repeatedKey(name) }
      let value = halves.count == 2 ? halves[1] : ""
      guard !value.isEmpty else { throw .emptyValue(name) }
      values[key] = try PercentEncoding.decode(value, in: "the value of \(name)")
    }
  }

  subscript(_ key: Key) -> String? { values[key] }

  func tlsType() throws(NBDURIError) -> NBDURI.TLSType? {
    guard let text = values[.tlsType] else { return nil }
    guard let type = NBDURI.TLSType(rawValue: text) else { throw .tlsType(text) }
    return type
  }

  /// Verification cannot be switched off, only be asked for once more.
  func verifiesPeer() throws(NBDURIError) -> Bool {
    switch values[.tlsVerifyPeer] {
    case nil: return false
    case "1": return true
    case "0": throw .verifyPeerOff
    case .some(let value): throw .verifyPeer(value)
    }
  }
}

/// Percent-encoding (RFC 3986, section 2.1).
enum PercentEncoding {
  /// The text that `text` stands for: UTF-8 without NUL. `part` names it in errors.
  static func decode(_ text: Substring, in part: String) throws(NBDURIError) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit)
      else { throw .percentEncoding(in: part) }
      bytes.append(high << 4 | low)
    }
    guard !bytes.contains(0) else { throw .nul(in: part) }
    guard let decoded = String(validating: bytes, as: UTF8.self) else { throw .notUTF8(in: part) }
    return decoded
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
