// SPDX-License-Identifier: Apache-2.0
import NBDKernel
import NBDProtocol
import TLS

// Errors of the layers below, in terms of who must act.

extension NBDSecureError {
  init(_ error: NegotiationError, server: String) {
    let code: Code
    var hint: String?
    switch error.kind {
    case .closed, .notNBD, .protocolViolation, .limitExceeded:
      code = .protocolViolation
      if error.kind == .notNBD { hint = "check that an NBD server listens there" }
    case .serverCannotTLS:
      code = .forbidden
      // Nobody vouches for the reason that is given: it makes a hint, no more.
      hint =
        error.message.contains(": NBD_REP_ERR_SHUTDOWN")
        ? "try again when the server is up"
        : "set up TLS on the server; --allow-plaintext goes on without it, where policy permits, "
          + "but not with credentials or nbds://"
    case .tlsDemanded:
      code = .unavailable
      hint = "leave out --allow-plaintext, and give credentials with --tls-creds"
    case .exportUnknown, .exportRefused, .listRefused, .shuttingDown:
      code = .unavailable
      if error.kind == .exportUnknown { hint = "nbd-secure list shows what the server offers" }
    }
    self.init(code, "\(server): \(error.message)", hint: hint, underlying: error)
  }

  init(_ error: TLSError, server: String) {
    let code: Code =
      switch error.kind.category {
      case .identity: .identity
      case .protocolViolation: .protocolViolation
      case .deadline: .timedOut
      case .usage: .usage
      case .configuration: .forbidden
      case .connection: .unavailable
      case .other: .other
      }
    let isPriority = error.kind == .invalidPriority || error.kind == .emptyPriority
    let subject = isPriority ? "--tls-priority" : server
    self.init(code, "\(subject): \(error.message)", hint: error.hint, underlying: error)
  }

  init(_ error: CredentialError) {
    self.init(.credentials, error.message, hint: error.hint, underlying: error)
  }

  init(_ error: PolicyRefusal) {
    self.init(
      error.isIdentity ? .identity : .forbidden, error.summary, hint: error.hint,
      underlying: error)
  }

  init(_ error: PolicyError) {
    self.init(.forbidden, error.summary, hint: error.hint, underlying: error)
  }

  init(_ error: KernelError) {
    self.init(.kernel, error.message, hint: error.hint, underlying: error)
  }
}
