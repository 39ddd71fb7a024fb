// SPDX-License-Identifier: Apache-2.0

/// What becomes of one entry of an nbdtab: the attachment's file, the directory of credentials
/// that it names, and a line for each thing that has no counterpart.
struct NBDTabTranslation: Hashable {
  /// A symbolic link in the directory of credentials.
  struct Link: Hashable {
    let name: String
    let target: String
  }

  private(set) var text: String?
  private(set) var links: [Link] = []
  private(set) var notes: [String] = []

  /// - Parameter credentials: the directory of credentials that this attachment would have.
  init(_ entry: NBDTabEntry, credentials: String) {
    guard entry.usesTLS else {
      notes.append("plaintext: not written; with a server that has TLS, add its cacertfile")
      return
    }
    guard !entry.has("unix") || entry.host.hasPrefix("/") else {
      notes.append("unix: \(Self.short(entry.host)) is not an absolute path: not written")
      return
    }
    guard let trust = linksToCredentials(entry) else { return }
    links = trust
    var lines: [String] = []
    if entry.has("unix") {
      lines.append("unix = \(Self.quoted(entry.host))")
    } else {
      lines.append("hostname = \(Self.quoted(entry.host))")
    }
    lines.append("export = \(Self.quoted(entry.export))")
    if !links.isEmpty { lines.append("tls-creds = \(Self.quoted(credentials))") }
    lines.append("device = \(Self.quoted(entry.device))")
    for option in entry.options { translate(option, into: &lines) }
    if entry.has("unix"), !entry.has("tlshostname") {
      notes.append("unix without tlshostname: nbd-client verifies no name there; add tls-hostname")
    }
    text = lines.map { $0 + "\n" }.joined()
  }

  /// The files of the entry under the names that a directory of credentials has; nil where they
  /// are no set that proves anything.
  private mutating func linksToCredentials(_ entry: NBDTabEntry) -> [Link]? {
    let names = [
      ("cacertfile", "ca-cert.pem"), ("certfile", "client-cert.pem"), ("keyfile", "client-key.pem"),
    ]
    var links: [Link] = []
    for (key, name) in names where entry.has(key) {
      guard let target = entry.value(key), target.hasPrefix("/") else {
        notes.append("\(key): not an absolute path: not written")
        return nil
      }
      links.append(Link(name: name, target: target))
    }
    if entry.has("certfile") != entry.has("keyfile") {
      notes.append("certfile and keyfile go together: not written")
      return nil
    }
    guard !entry.has("certfile") || entry.has("cacertfile") else {
      notes.append(
        "no cacertfile: nbd-client verifies no server here; add the authority's certificate: "
          + "not written")
      return nil
    }
    if links.isEmpty {
      notes.append("no cacertfile: the server is verified against the system's trust store")
    }
    return links
  }

  private mutating func translate(_ option: NBDTabEntry.Option, into lines: inout [String]) {
    switch option.key {
    case "cacertfile", "certfile", "keyfile", "unix": break
    case "tlshostname":
      if let name = option.value, !name.isEmpty {
        lines.append("tls-hostname = \(Self.quoted(name))")
      } else {
        notes.append("tlshostname: has no value: left out")
      }
    case "port": number(option, "port", 1...65535, into: &lines)
    case "conns", "connections":
      number(option, "connections", 1...AttachRequest.maximumConnections, into: &lines)
    case "bs":
      let size = option.value.flatMap { Int($0) } ?? 0
      if size.nonzeroBitCount == 1 {
        number(option, "block-size", 512...65536, into: &lines)
      } else {
        notes.append("bs=\(Self.short(option.value)): not a power of two: left out")
      }
    case "timeout": number(option, "io-timeout", 1...86400, into: &lines)
    case "persist":
      notes.append("persist: not needed: reconnect-timeout is 300 seconds unless given")
    case "swap":
      notes.append("swap: memory is always locked; for swap add data-path = \"ktls\"")
    case "no_optgo": notes.append("no_optgo: not needed: servers without NBD_OPT_GO are understood")
    case "nofork": notes.append("nofork: left out: attach --foreground does that")
    case let key where key.hasPrefix("_"):
      notes.append("\(Self.short(key)): a local option: left out")
    case "sdp": notes.append("sdp: the Socket Direct Protocol is not supported: left out")
    default: notes.append("\(Self.short(option.key)): unknown: left out")
    }
  }

  private mutating func number(
    _ option: NBDTabEntry.Option, _ key: String, _ range: ClosedRange<Int>,
    into lines: inout [String]
  ) {
    guard let number = option.value.flatMap({ Int($0) }), range.contains(number) else {
      notes.append(
        "\(option.key)=\(Self.short(option.value)): not from \(range.lowerBound) to "
          + "\(range.upperBound): left out")
      return
    }
    lines.removeAll { $0.hasPrefix("\(key) = ") }
    lines.append("\(key) = \(number)")
  }

  private static func short(_ text: String?) -> String { String((text ?? "").prefix(80)) }

  /// A TOML basic string.
  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      default:
        if scalar.value < 0x20 || scalar.value == 0x7f {
          let hex = String(scalar.value, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
        } else {
          result.unicodeScalars.append(scalar)
        }
      }
    }
    return result + "\""
  }
}
