// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Credentials that the user may not read are named. Root may read everything: there somebody else
/// looks.
@Suite struct UnreadableFileTests {
  @Test(arguments: ["ca-cert.pem", "client-cert.pem", "client-key.pem", "keys.psk", ""])
  func isNamed(_ name: String) throws {
    let pki = try PKI.shared.get()
    let place = try TemporaryDirectory()
    let creds = try place.directory("creds")
    let source = name == "keys.psk" ? pki.psk : pki.client
    let files = try FileManager.default.contentsOfDirectory(atPath: source)
    for file in files {
      try FileManager.default.copyItem(
        atPath: source + "/" + file, toPath: creds + "/" + file)
    }
    // The program as well: the build may lie in somebody's home.
    let program = place.file("nbd-secure")
    try copyProgram(to: program)
    let isRoot = getuid() == 0
    for path in [place.path, creds, program] + files.map({ creds + "/" + $0 }) where isRoot {
      #expect(chown(path, 65534, 65534) == 0)
    }
    let wanted = name.isEmpty ? creds : creds + "/" + name
    chmod(wanted, 0)
    defer { chmod(creds, 0o700) }
    let other = ["--reuid", "65534", "--regid", "65534", "--clear-groups", program]
    let arguments = ["info", "--hostname", "localhost", "--port", "1", "--tls-creds", creds]
    let seen =
      isRoot ? try run("setpriv", other + arguments) : try run(program, arguments)
    #expect(seen.deviations(status: 66, saying: [wanted, "permission denied"]) == [])
  }
}
