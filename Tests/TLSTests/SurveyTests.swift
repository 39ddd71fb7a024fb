// SPDX-License-Identifier: Apache-2.0
import Foundation
import TLS
import TestSupport
import Testing

/// The survey of a directory and its loading find the same fault first.
@Suite struct SurveyTests {
  private let pki: PKI

  init() throws { pki = try PKI.shared.get() }

  @Test func agreesWithLoading() throws {
    let cases = try FileManager.default.contentsOfDirectory(atPath: pki.path("clients"))
    #expect(cases.count > 10)
    for name in cases + ["no-such-case"] {
      let directory = pki.path("clients/\(name)")
      let survey = CredentialSurvey(directory: directory)
      do {
        let loaded = try X509Credentials.load(directory: directory)
        #expect(survey.failures == [], "\(name)")
        #expect(survey.files == loaded.files, "\(name)")
      } catch {
        #expect(survey.failures.first == error, "\(name)")
      }
    }
  }

  @Test func goesOnBehindTheFirstFault() throws {
    let directory = try TemporaryDirectory()
    for name in ["client-cert.pem", "client-key.pem"] {
      try FileManager.default.copyItem(
        atPath: pki.path("clients/good/\(name)"), toPath: directory.file(name))
    }
    try directory.write("ca-cert.pem", "nothing\n")
    chmod(directory.file("client-key.pem"), 0o644)
    let survey = CredentialSurvey(directory: directory.path)
    #expect(survey.failures.map(\.kind) == [.caEmpty, .keyExposed])
  }

  @Test func passwordsOpenKeys() throws {
    let directory = pki.path("clients/encrypted")
    let survey = CredentialSurvey(
      directory: directory, keyPasswordFile: directory + "/password")
    #expect(survey.failures == [])
    #expect(survey.files.contains { $0.keyIsEncrypted && $0.keyType == "EC/ECDSA 256" })
  }
}
