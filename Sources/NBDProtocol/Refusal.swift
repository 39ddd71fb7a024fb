// SPDX-License-Identifier: Apache-2.0

/// A server's error reply to an option, on its way to become an error of ours.
struct Refusal {
  let type: ReplyType
  let option: Option
  /// The server's own words, printable; nil where it sent none.
  let text: String?

  init(type: ReplyType, option: Option, text: [UInt8]) {
    self.type = type
    self.option = option
    let printable = Printable.text(text)
    self.text = printable.isEmpty ? nil : printable
  }

  /// The C name of the reply, and the server's words.
  var reason: String { type.name + (text.map { ", \"\($0)\"" } ?? "") }

  func error(for export: ExportName, isSecure: Bool) -> NegotiationError {
    func error(_ kind: NegotiationError.Kind, _ message: String) -> NegotiationError {
      NegotiationError(kind, "\(message): \(reason)", serverText: text)
    }
    // A refusal of TLS counts as one whatever the reason given: nobody has authenticated it.
    if option == .startTLS { return error(.serverCannotTLS, "the server refuses TLS") }
    switch type {
    case .errTLSRequired where isSecure:
      return error(.protocolViolation, "the server demands TLS in a TLS session")
    case .errTLSRequired: return error(.tlsDemanded, "the server demands TLS")
    case .errShutdown: return error(.shuttingDown, "the server is shutting down")
    case .errUnsup where option == .list, .errPlatform where option == .list:
      return error(.listRefused, "the server cannot list its exports")
    case _ where option == .list: return error(.listRefused, "the server does not list its exports")
    case .errUnknown: return error(.exportUnknown, "the server has no export \(export)")
    default: return error(.exportRefused, "the server refuses export \(export)")
    }
  }
}
