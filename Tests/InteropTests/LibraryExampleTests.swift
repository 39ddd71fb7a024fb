// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// The example of the library's documentation: what is shown is what runs.
@Suite struct LibraryExampleTests {
  @Test func savesAnExport() throws {
    let server = try Server(ServerConfiguration(.nbdkit))
    let directory = try TemporaryDirectory()
    let file = directory.file("saved")
    let uri = "nbds://localhost:\(server.port)/\(server.configuration.export)"
    let outcome = try run(buildDirectory + "/library-example", [uri, server.pki.trustOnly, file])
    #expect(outcome.status == 0, "\(outcome)")
    #expect(outcome.stdout.contains("has \(server.configuration.size) bytes"))
    #expect(outcome.stdout.contains("TLS 1.3, localhost"))
    #expect(try contents(of: file) == contents(of: server.disk))
  }

  @Test func saysWhatIsWrong() throws {
    let outcome = try run(
      buildDirectory + "/library-example", ["nbds://localhost/", "/nonexistent", "/dev/null"])
    #expect(outcome.status == 1)
    #expect(outcome.stdout.hasPrefix("credentials: /nonexistent"), "\(outcome)")
  }

  @Test func isWhatTheDocumentationShows() throws {
    let source = try String(
      contentsOfFile: repository + "/examples/library/main.swift", encoding: .utf8)
    let shown = try String(
      contentsOfFile: repository + "/Sources/NBDSecure/NBDSecure.docc/NBDSecure.md",
      encoding: .utf8)
    // All but the line of the licence.
    let program = source.drop { $0 != "\n" }.dropFirst()
    #expect(shown.contains("```swift\n\(program)```"))
  }
}
