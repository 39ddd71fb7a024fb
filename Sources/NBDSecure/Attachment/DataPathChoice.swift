// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel
import TLS

/// Whether the relay or the kernel carries an attachment's bytes.
enum DataPathChoice: Equatable {
  case relay
  case kernelTLS

  /// Decides from the options, policy, and what the kernel can do; a `ktls` that cannot be fails,
  /// an `auto` that cannot be says why and takes the relay.
  ///
  /// - Throws: `NBDSecureError`: `.kernel` for lack of support, `.forbidden` by policy.
  init(
    for connection: Connection, request: AttachRequest, binding: Binder.Kind,
    warn: (String) -> Void
  ) throws(NBDSecureError) {
    let allowed = connection.policy.dataPaths
    let why = Self.obstacle(connection, binding)
    switch request.dataPath {
    case .relay: self = .relay
    case .ktls:
      if let why {
        throw NBDSecureError(
          .kernel, "--data-path ktls: \(why)", hint: "--data-path relay works without it")
      }
      self = .kernelTLS
    case .auto:
      let wanted = request.reconnectTimeout == 0 || !allowed.contains(.relay)
      guard wanted, allowed.contains(.ktls) else {
        self = .relay
        return
      }
      if let why {
        guard allowed.contains(.relay) else {
          throw NBDSecureError(.forbidden, "policy allows kernel TLS only, but \(why)")
        }
        warn("using the relay: \(why)")
        self = .relay
      } else {
        self = .kernelTLS
      }
    }
  }

  /// Why kernel TLS cannot be; nil when it can.
  private static func obstacle(_ connection: Connection, _ binding: Binder.Kind) -> String? {
    guard let facts = connection.facts else { return "the connection is plaintext" }
    guard connection.address.isTCP else { return "kernel TLS needs a TCP connection" }
    guard binding == .netlink else { return "kernel TLS needs the driver's netlink interface" }
    let version: KernelTLS.Version = facts.version == .v13 ? .tls13 : .tls12
    let cipher: KernelTLS.Cipher =
      switch facts.cipher {
      case .aes128GCM: .aes128GCM
      case .aes256GCM: .aes256GCM
      case .chacha20Poly1305: .chacha20Poly1305
      }
    return KernelTLS.probe(version, cipher).reason
  }
}

/// The keys of a session go to the kernel, and with them the socket: from then on the kernel
/// encrypts, and what is read and written on the socket is plain.
enum KernelTLSHandover {
  /// Hands over each connection. The sockets are the caller's then.
  ///
  /// - Throws: `NBDSecureError` with `.kernel`; the connections are of no more use then.
  static func sockets(of connections: [Connection]) throws(NBDSecureError) -> [Int32] {
    var sockets: [Int32] = []
    do throws(NBDSecureError) {
      for connection in connections { sockets.append(try socket(of: connection)) }
    } catch {
      for socket in sockets { _ = Descriptor(owning: socket) }
      throw error
    }
    return sockets
  }

  private static func socket(of connection: Connection) throws(NBDSecureError) -> Int32 {
    guard let channel = connection.channel as? TLSChannel else {
      throw NBDSecureError(.kernel, "kernel TLS needs a TLS connection")
    }
    let session = channel.session
    do {
      let keys = try session.kernelTLSParameters()
      try KernelTLS.install(
        on: session.rawDescriptor, transmit: keys.transmit, receive: keys.receive)
      return try session.releaseSocketAfterKernelTLS().release()
    } catch let failure as KernelTLS.InstallFailure {
      switch failure {
      case .untouched(let error), .broken(let error): throw NBDSecureError(error)
      }
    } catch {
      throw NBDSecureError(.kernel, "kernel TLS: \(error)")
    }
  }
}
