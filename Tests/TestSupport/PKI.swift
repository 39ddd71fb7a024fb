// SPDX-License-Identifier: Apache-2.0
import Foundation

/// The throw-away certificates and keys that the tests share, made once for each test run by
/// `certs/generate`.
package final class PKI: Sendable {
  /// The set that all tests of a process share: read only.
  package static let shared: Result<PKI, any Error> = Result { try PKI() }

  private let directory: TemporaryDirectory

  /// Generates a set of one's own.
  package init() throws {
    directory = try TemporaryDirectory()
    let made = try run(
      "/bin/bash", [repository + "/certs/generate", directory.path])
    guard made.status == 0 else { throw SystemError("certs/generate", because: made.description) }
  }

  /// Where it all lies.
  package var root: String { directory.path }

  /// The path of one of its files or directories.
  package func path(_ name: String) -> String { directory.file(name) }

  /// A server's directory with the names that nbdkit and QEMU use: certificate for localhost,
  /// 127.0.0.1 and ::1.
  package var server: String { path("server") }
  /// A client's directory with `ca-cert.pem` alone.
  package var trustOnly: String { path("trust") }
  /// A client's directory with `ca-cert.pem`, `client-cert.pem` and `client-key.pem`.
  package var client: String { path("client") }
  /// A directory with a `keys.psk` of one line.
  package var psk: String { path("psk") }
  /// The key file in it.
  package var pskFile: String { path("psk/keys.psk") }
  /// A client's directory with the `ca-cert.pem` of an authority that signed nothing here.
  package var otherCA: String { path("other-ca") }
}

/// The root of the source tree.
package let repository: String = {
  var path = URL(fileURLWithPath: #filePath)
  for _ in 0..<3 { path.deleteLastPathComponent() }
  return path.path
}()
