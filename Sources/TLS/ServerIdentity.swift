// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS
internal import Glibc

/// Who the server must prove to be.
package enum ServerIdentity: Hashable, Sendable {
  /// A DNS name, matched with the certificate's DNS names only.
  case dns(String)
  /// An IP address in its canonical form, matched with the certificate's IP addresses only.
  case ip(String)
  /// No name: the pre-shared key is the identity.
  case none

  /// Parses what a user or a URI names: a trailing dot, brackets and an IPv6 zone are taken off.
  ///
  /// Throws `invalidIdentity` for a name that no certificate could carry.
  package init(_ text: String) throws(TLSError) {
    var name = Substring(text)
    if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
    if name.contains(":"), let zone = name.firstIndex(of: "%") { name = name[..<zone] }
    if let address = IPAddress(name) {
      self = .ip(address.text)
      return
    }
    if name.hasSuffix(".") { name = name.dropLast() }
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    let fits = labels.allSatisfy { label in
      (1...63).contains(label.utf8.count)
        && label.unicodeScalars.allSatisfy { scalar in
          scalar.value > 0x7f || scalar.properties.isAlphabetic || scalar == "-" || scalar == "_"
            || ("0"..."9").contains(scalar)
        }
    }
    guard fits, name.utf8.count <= 253 else {
      throw TLSError(.invalidIdentity, "“\(Text.printable(text))” is no host name or address")
    }
    self = .dns(name.lowercased())
  }

  /// The name as it is shown.
  package var text: String? {
    switch self {
    case .dns(let name): name
    case .ip(let address): address
    case .none: nil
    }
  }
}

/// An IPv4 or IPv6 address.
struct IPAddress: Hashable {
  /// 4 or 16 bytes in network order.
  let bytes: [UInt8]
  /// The canonical form.
  let text: String

  /// Nil unless the text is an address literal; IPv6 without brackets or zone.
  init?(_ text: some StringProtocol) {
    let text = String(text)
    guard !text.utf8.contains(0) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 16)
    let family = text.utf8.contains(UInt8(ascii: ":")) ? AF_INET6 : AF_INET
    guard unsafe inet_pton(family, text, &bytes) == 1 else { return nil }
    self.init(bytes: Array(bytes.prefix(family == AF_INET ? 4 : 16)))
  }

  /// Nil unless there are 4 or 16 bytes.
  init?(bytes: [UInt8]) {
    guard bytes.count == 4 || bytes.count == 16 else { return nil }
    var buffer = [CChar](repeating: 0, count: 64)
    let family = bytes.count == 4 ? AF_INET : AF_INET6
    guard unsafe inet_ntop(family, bytes, &buffer, socklen_t(buffer.count)) != nil else {
      return nil
    }
    self.bytes = bytes
    let end = buffer.firstIndex(of: 0) ?? buffer.endIndex
    text = String(decoding: buffer[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
