// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import TLS

/// The credentials of one connection, read and checked whole, and what policy needs to know of
/// them.
struct LoadedCredentials {
  /// Credentials and the identity to verify; nil in plaintext.
  let tls: (credentials: Credentials, identity: ServerIdentity)?
  let policyChannel: PolicyQuestion.Channel

  /// Reads what the request names.
  ///
  /// - Parameters:
  ///   - previous: the identity of the pre-shared key that earlier connections were made with.
  ///   - warn: hears of certificates that end soon.
  /// - Throws: `NBDSecureError` with `.credentials`, or `.usage` for a name that is none.
  init(
    _ request: ConnectionRequest, identity previous: String? = nil,
    warn: @Sendable (String) -> Void
  ) throws(NBDSecureError) {
    do {
      switch request.credentials {
      case .none:
        tls = nil
        policyChannel = .plaintext
      case .psk(let file, let identity):
        // Policy judges the very file that is read: links are followed once.
        let path = realPath(file) ?? file
        let keys = try PSKCredentials.load(file: path, identity: identity ?? previous)
        tls = (.psk(keys), .none)
        policyChannel = .psk(file: path)
      case .systemTrust:
        tls = (.x509(try X509Credentials.systemTrust()), try Self.identity(request))
        policyChannel = .x509(PolicyQuestion.X509(trustAnchors: nil))
      case .x509(let directory, let passwordFile):
        // The file that policy judges is the file that is read.
        let anchors = realPath("\(directory)/ca-cert.pem")
        let loaded = try X509Credentials.load(
          directory: directory, keyPasswordFile: passwordFile, trustAnchors: anchors)
        tls = (.x509(loaded), try Self.identity(request))
        policyChannel = .x509(
          PolicyQuestion.X509(
            trustAnchors: anchors ?? "\(directory)/ca-cert.pem",
            hasClientCertificate: loaded.hasClientCertificate,
            clientCertificateNotAfter: loaded.clientCertificateNotAfter,
            revocationListIssued: loaded.revocationLists.map(\.thisUpdate).min()))
        for file in loaded.files { Self.warnOfEnd(file, warn) }
      }
    } catch let error as CredentialError {
      throw NBDSecureError(error)
    } catch let error as NBDSecureError {
      throw error
    } catch {
      throw NBDSecureError(.other, "\(error)")
    }
  }

  private static func warnOfEnd(_ file: CredentialFileFacts, _ warn: (String) -> Void) {
    for certificate in file.certificates {
      let subject = "\(file.path): the certificate \(certificate.subject)"
      if let warning = Expiry.warning(subject, notAfter: certificate.notAfter) { warn(warning) }
    }
  }

  private static func identity(_ request: ConnectionRequest) throws(NBDSecureError)
    -> ServerIdentity
  {
    guard let name = request.nameToVerify else {
      throw usage("\(request.endpoint.server): no host name to verify")
    }
    do { return try ServerIdentity(name) } catch {
      throw NBDSecureError(error, server: request.endpoint.server)
    }
  }
}

extension X509Credentials {
  /// When our own certificate ends, seconds since 1970; nil where there is none.
  var clientCertificateNotAfter: Int64? {
    files.first { $0.role == .clientCertificate }?.certificates.first?.notAfter
  }
}
