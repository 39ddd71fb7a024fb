// SPDX-License-Identifier: Apache-2.0
import TLS
import TestSupport
import Testing

/// How far revocation lists reach.
@Suite struct RevocationTests {
  @Test(arguments: [
    // Below the anchor there is the server's certificate alone, and the anchor's list speaks of it.
    ("good", "clients/crl", nil), ("good", "clients/crl-of-one", nil),
    ("good", "clients/crl-intermediate", nil),
    ("intermediate", "clients/crl-intermediate", nil),
    ("good", "trust", "CN=localhost"),
    // The root's list says nothing of what the intermediate issued, nor does one of its namesake.
    ("intermediate", "clients/crl", "CN=localhost"),
    ("intermediate", "clients/crl-namesake", "CN=localhost"),
    ("other-ca", "clients/crl-of-one", "CN=localhost"),
  ])
  func unlisted(_ name: String, _ client: String, _ certificate: String?) throws {
    let facts = try prove(server(name), x509(client))
    #expect(facts.unlistedCertificate == certificate)
  }

  @Test func keysHaveNoLists() throws {
    #expect(try prove(pskServer(), psk()).unlistedCertificate == nil)
  }

  /// A list that cannot be held against an anchor is told.
  @Test func listsOfIntermediatesAreNoted() throws {
    let files = try X509Credentials.load(directory: pki("clients/crl-intermediate")).files
    #expect(files[1].notes.count == 1)
    #expect(files[1].notes.first?.contains("nbd-secure intermediate authority") ?? false)
  }
}
