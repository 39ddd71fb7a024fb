// SPDX-License-Identifier: Apache-2.0
internal import CGnuTLS

/// The TLS library underneath.
package enum TLSLibrary {
  /// Its version, as "3.7.9".
  package static var version: String {
    guard let text = unsafe cgt_library_version() else { return "unknown" }
    return unsafe String(cString: text)
  }

  /// Whether AES is fast on this CPU, and so goes before CHACHA20.
  package static let hasAESInstructions = cgt_cpu_has_aes()

  /// Everything that has to happen before the first use.
  static func prepare() { _ = prepared }

  private static let prepared: Void = cgt_quieten()

  /// The library's text for one of its error codes.
  static func text(for code: Int32) -> String {
    guard let text = unsafe gnutls_strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }
}
