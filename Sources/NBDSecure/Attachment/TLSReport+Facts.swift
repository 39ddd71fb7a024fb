// SPDX-License-Identifier: Apache-2.0
import TLS

extension TLSReport {
  /// What a session proved, as users read it.
  init(_ facts: SessionFacts) {
    version = "TLS \(facts.version.rawValue)"
    cipher = facts.cipher.rawValue
    keyExchange = facts.exchange
    group = facts.group.isEmpty ? nil : facts.group
    authentication = facts.pskIdentity != nil ? "psk" : "x509"
    verifiedName = facts.verifiedName
    pskIdentity = facts.pskIdentity
    subject = facts.peer?.subject
    issuer = facts.peer?.issuer
    names = facts.peer?.names ?? []
    notBefore = facts.peer?.notBefore
    notAfter = facts.peer?.notAfter
    pin = facts.pin
    clientCertificate = facts.clientCertificateSent
    clientSubject = facts.clientCertificate?.subject
    clientNotAfter = facts.clientCertificate?.notAfter
  }
}
