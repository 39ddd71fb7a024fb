// SPDX-License-Identifier: Apache-2.0
import NBDProtocol
import TLS

extension NBDSecureError {
  /// A TLS failure with a hint at who demanded what could not be had, where it was not the program
  /// itself.
  ///
  /// - Parameter origins: which places of policy set a parameter, by key.
  init(_ error: TLSError, for request: ConnectionRequest, policy origins: [String: [String]]) {
    let plain = NBDSecureError(error, server: request.endpoint.server)
    let hint = Self.demand(error.kind, request, origins)
    self.init(plain.code, plain.summary, hint: hint ?? plain.hint, underlying: error)
  }

  private static func demand(
    _ kind: TLSError.Kind, _ request: ConnectionRequest, _ origins: [String: [String]]
  ) -> String? {
    func places(_ keys: PolicyKey...) -> String? {
      let found = keys.flatMap { origins[$0.rawValue] ?? [] }
      return found.isEmpty ? nil : "policy (\(Set(found).sorted().joined(separator: "; ")))"
    }
    switch kind {
    case .pinMismatch:
      return places(.pins).map {
        "\($0) pins the server's key; if the server has a new one on purpose, it belongs there"
      }
    case .emptyPriority:
      return places(.ciphers, .groups, .tlsMinVersion).map {
        "\($0) leaves less than the program does: nbd-secure policy explain"
      }
    case .noCommonParameters, .closedInHandshake:
      let option: String? =
        request.priority != nil
        ? "--tls-priority" : request.minimumVersion == "1.3" ? "--tls-min-version 1.3" : nil
      let who = [option, places(.ciphers, .groups, .tlsMinVersion)].compactMap(\.self)
      guard !who.isEmpty else { return nil }
      return "\(who.joined(separator: " and ")) narrows what is offered: does the server have it?"
    default: return nil
    }
  }

  /// A refused upgrade to TLS, with a hint at why TLS was asked for.
  func explainingTLS(of request: ConnectionRequest) -> NBDSecureError {
    guard let refusal = underlying as? NegotiationError, refusal.kind == .serverCannotTLS,
      request.credentialOrigin == .defaultDirectory
    else { return self }
    let path =
      switch request.credentials {
      case .x509(let directory, _): directory
      case .psk(let file, _): file
      case .systemTrust, .none: "a default directory"
      }
    return NBDSecureError(
      code, summary,
      hint: "TLS is required since credentials were found in \(path); set up TLS on the server",
      underlying: underlying)
  }
}
