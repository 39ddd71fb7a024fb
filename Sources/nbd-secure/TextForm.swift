// SPDX-License-Identifier: Apache-2.0
import Glibc
import NBDSecure

/// Values as people read them.
enum TextForm {
  /// "64 MiB (67108864 bytes)".
  static func size(_ bytes: UInt64) -> String { "\(self.bytes(bytes)) (\(bytes) bytes)" }

  /// "64 MiB", "1.5 GiB", "512 bytes".
  static func bytes(_ count: UInt64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    guard count >= 1024 else { return "\(count) bytes" }
    var tenths =
      count.multipliedReportingOverflow(by: 10).overflow ? count / 1024 * 10 : count * 10 / 1024
    var unit = 0
    while tenths >= 10240, unit < units.count - 1 {
      tenths /= 1024
      unit += 1
    }
    return tenths % 10 == 0
      ? "\(tenths / 10) \(units[unit])" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
  }

  /// "2026-11-22 15:04:05 UTC".
  static func time(_ seconds: Int64) -> String {
    var when = time_t(seconds)
    var parts = unsafe tm()
    guard unsafe gmtime_r(&when, &parts) != nil else { return "\(seconds)" }
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let date = unsafe "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    let clock = unsafe "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    return "\(date) \(clock) UTC"
  }

  /// What a TLS session proved, row by row.
  static func rows(_ tls: TLSReport?) -> [(String, String)] {
    guard let tls else { return [("TLS", "none: plaintext was explicitly allowed")] }
    var rows = [
      (
        "TLS",
        "\(tls.version), \(tls.cipher), \(tls.keyExchange)" + (tls.group.map { " (\($0))" } ?? "")
      )
    ]
    if tls.authentication == "psk" {
      rows.append(("authenticated", "pre-shared key, identity \(tls.pskIdentity ?? "?")"))
      return rows
    }
    rows.append(("verified name", tls.verifiedName ?? "?"))
    if let subject = tls.subject { rows.append(("certificate", subject)) }
    if let issuer = tls.issuer { rows.append(("issuer", issuer)) }
    if !tls.names.isEmpty { rows.append(("names", tls.names.joined(separator: ", "))) }
    if let end = tls.notAfter { rows.append(("valid until", time(end))) }
    if let pin = tls.pin { rows.append(("pin", pin)) }
    if tls.clientCertificate {
      let end = tls.clientNotAfter.map { ", valid until \(time($0))" } ?? ""
      rows.append(("client certificate", "shown\(end)"))
    }
    return rows
  }
}
