// SPDX-License-Identifier: Apache-2.0
import Foundation
import TLS
import TestSupport
import Testing

/// Files of pre-shared keys.
@Suite struct PSKFileTests {
  private static let key = "00112233445566778899aabbccddeeff"

  private func load(_ text: String, identity: String? = nil) throws -> PSKCredentials {
    let place = try TemporaryDirectory()
    return try PSKCredentials.load(file: place.write("keys.psk", text), identity: identity)
  }

  @Test(arguments: [
    "alice:KEY", "alice:KEY\n", "\n\nalice:KEY\n\n", "alice:KEY\r\n", "alice:\(key.uppercased())",
  ])
  func oneLine(_ text: String) throws {
    let credentials = try load(text.replacingOccurrences(of: "KEY", with: PSKFileTests.key))
    #expect(credentials.identity == "alice")
    #expect(credentials.files[0].identities == ["alice"] && credentials.files[0].notes.isEmpty)
  }

  @Test(arguments: [
    ("", CredentialError.Kind.pskFileEmpty), ("\n\n", .pskFileEmpty), ("alice", .pskMalformedLine),
    (":KEY", .pskBadIdentity), ("al ice:KEY", .pskBadIdentity), ("\talice:KEY", .pskBadIdentity),
    ("al\0ice:KEY", .pskBadIdentity), ("#:KEY", .pskBadIdentity), ("#6:KEY", .pskBadIdentity),
    ("#xx:KEY", .pskBadIdentity), ("alice:", .pskEmptyKey), ("alice: KEY", .pskBadKey),
    ("alice:KEY0", .pskBadKey), ("alice:0xKEY", .pskBadKey), ("alice:KEY ", .pskBadKey),
    ("alice:hello", .pskBadKey), ("alice:KEY:KEY", .pskBadKey),
    ("alice:KEY\nalice:KEY", .pskDuplicate), ("alice:KEY\n#616c696365:KEY", .pskDuplicate),
    ("alice:KEY\nbob:KEY", .pskIdentityNotNamed), ("bob:KEY\nalice:", .pskEmptyKey),
    (String(repeating: "a", count: 1025) + ":KEY", .pskBadIdentity),
  ])
  func wrong(_ text: String, _ kind: CredentialError.Kind) throws {
    let text = text.replacingOccurrences(of: "KEY", with: PSKFileTests.key)
    let error = failure(CredentialError.self) { _ = try load(text) }
    #expect(error?.kind == kind, "\(String(describing: error))")
    #expect(!(error?.message.contains(PSKFileTests.key) ?? true))
    #expect(error?.message.contains("keys.psk: ") ?? false)
  }

  @Test func notUTF8() throws {
    let place = try TemporaryDirectory()
    let file = try place.write("keys.psk", [0xff, 0x3a, 0x30, 0x30, 0x0a])
    let error = failure(CredentialError.self) { _ = try PSKCredentials.load(file: file) }
    #expect(error?.kind == .pskBadIdentity)
  }

  @Test func choice() throws {
    let text = "alice:\(PSKFileTests.key)\n#00ff:\(PSKFileTests.key)\nbob:0011\n"
    #expect(try load(text, identity: "alice").identity == "alice")
    #expect(try load(text, identity: "#616C696365").identity == "alice")
    #expect(try load(text, identity: "#00FF").identity == "#00ff")
    let short = try load(text, identity: "bob").files[0]
    #expect(short.chosenIdentity == "bob" && short.notes.count == 1)
    for name in ["carol", "", "ALICE", "alice "] {
      let error = failure(CredentialError.self) { _ = try load(text, identity: name) }
      #expect(error?.kind == .pskIdentityUnknown)
      #expect(error?.hint?.contains("alice, #00ff, bob") ?? false)
    }
  }

  @Test func files() throws {
    let place = try TemporaryDirectory()
    func expect(_ kind: CredentialError.Kind, _ path: String) {
      let error = failure(CredentialError.self) { _ = try PSKCredentials.load(file: path) }
      #expect(error?.kind == kind, "\(String(describing: error))")
      #expect(error?.file == path)
    }
    expect(.pskFileMissing, place.file("none"))
    expect(.notRegular, place.path)
    for mode: mode_t in [0o640, 0o604, 0o644] {
      expect(.pskFileExposed, try place.write("keys.psk", "a:00", mode: mode))
    }
    expect(.tooLarge, try place.write("keys.psk", [UInt8](repeating: 10, count: 2 << 20)))
    let many = (0...PSKFile.mostEntries).map { "u\($0):00\n" }.joined()
    expect(.tooLarge, try place.write("keys.psk", many))
  }

  /// An identity that is no text goes over the wire as its bytes.
  @Test func binaryIdentity() throws {
    let place = try TemporaryDirectory()
    let file = try place.write("keys.psk", "#616c696365ff:\(PSKFileTests.key)\n")
    let credentials = try PSKCredentials.load(file: file)
    let facts = try prove(
      .psk(file: file, priority: Version.v13.pskPriority), .psk(credentials))
    #expect(facts.authentication == .psk(identity: "#616c696365ff"))
  }

  /// No input traps, and what parses holds what it promises.
  @Test func randomInput() throws {
    var generator = SystemRandomNumberGenerator()
    let alphabet = Array("ab:#0f\n\r \0".utf8) + [0xff]
    var valid = 0
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0..<24)).map { _ in
        alphabet.randomElement(using: &generator)!
      }
      guard let file = try? PSKFile(parsing: bytes) else { continue }
      valid += 1
      for entry in file.entries {
        #expect(!entry.digits.isEmpty && entry.digits.count.isMultiple(of: 2))
        #expect(bytes.indices.contains(entry.digits.lowerBound))
        #expect(entry.digits.upperBound <= bytes.count)
        #expect(!entry.identity.bytes.isEmpty)
      }
    }
    #expect(valid > 10, "only \(valid) of the files were any")
  }
}
