// SPDX-License-Identifier: Apache-2.0
import LinuxIO

extension ConnectionRequest {
  /// Every address that would be tried, in order. Looks up the host's name.
  ///
  /// - Throws: `NBDSecureError`: `.unknownHost`, `.unavailable`, or `.timedOut`.
  func addresses(by deadline: Deadline) throws(NBDSecureError) -> [SocketAddress] {
    switch endpoint.transport {
    // Links are followed once: policy judges the very socket that is connected to.
    case .unix(let path): return [.unix(path: realPath(path) ?? path)]
    case .vsock(let cid, let port): return [.vsock(cid: cid, port: port)]
    case .tcp(let host, let port, let address):
      let name = address ?? host
      let found: [SocketAddress]
      do {
        found = try resolve(host: withoutTrailingDot(name), port: port, deadline: deadline)
      } catch {
        switch error.kind {
        case .unknownName:
          throw NBDSecureError(
            .unknownHost, "\(name): host name unknown: \(error.message)",
            hint: address == nil
              ? "check the spelling, or give the address: --address ADDR" : "check the spelling",
            underlying: error)
        case .timedOut: throw .timedOut("\(name): looking up the address", after: self)
        case .temporary, .failed:
          throw NBDSecureError(
            .unavailable, "\(name): cannot look up the address: \(error.message)",
            hint: address == nil
              ? "check the name service, or give the address: --address ADDR"
              : "check the name service, or give a number",
            underlying: error)
        }
      }
      // The kernel connects to a loopback address in its place, of which no rule would know.
      if let address = found.first(where: \.isUnspecified) {
        throw NBDSecureError(
          .unavailable, "\(name): \(address.host) is no server's address",
          hint: "this machine is 127.0.0.1, or ::1")
      }
      return found
    }
  }
}

private func withoutTrailingDot(_ name: String) -> String {
  name.hasSuffix(".") && name.count > 1 ? String(name.dropLast()) : name
}

extension NBDSecureError {
  static func timedOut(_ what: String, after request: ConnectionRequest) -> NBDSecureError {
    let limit = request.connectTimeout
    let seconds = limit < 1 ? "\(limit)" : "\(Int(limit.rounded(.up)))"
    return NBDSecureError(
      .timedOut, "\(what): not done within \(seconds) s",
      hint: "the server or the network is silent; --connect-timeout allows more time")
  }
}
