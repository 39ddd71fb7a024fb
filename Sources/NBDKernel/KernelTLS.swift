// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
internal import LinuxIO
package import SystemPackage

/// TLS in the kernel, under a TCP socket (Documentation/networking/tls.rst).
package enum KernelTLS {
  /// The protocol version, as in linux/tls.h and on the wire.
  package enum Version: UInt16, CaseIterable, Sendable {
    case tls12 = 0x0303
    case tls13 = 0x0304
  }

  /// The ciphers that the kernel and GnuTLS both have, as numbered in linux/tls.h.
  package enum Cipher: UInt16, CaseIterable, Sendable {
    case aes128GCM = 51
    case aes256GCM = 52
    case chacha20Poly1305 = 54

    /// How long iv, key, salt and rec_seq are, in that order.
    package var layout: (iv: Int, key: Int, salt: Int, sequence: Int) {
      switch self {
      case .aes128GCM: (8, 16, 4, 8)
      case .aes256GCM: (8, 32, 4, 8)
      case .chacha20Poly1305: (12, 32, 0, 8)
      }
    }

    /// The kernel modules that the cipher is made of, besides AES.
    var modules: [String] {
      switch self {
      case .aes128GCM, .aes256GCM: ["gcm", "ctr", "ghash-generic"]
      case .chacha20Poly1305: ["chacha_generic", "poly1305_generic", "chacha20poly1305"]
      }
    }
  }

  /// What a probe found.
  package enum Support: Hashable, Sendable {
    case works
    /// The `tls` module is neither there nor loadable.
    case noModule
    /// Kernel TLS is there, without this version and cipher.
    case noCipher
    /// Something else is in the way.
    case failed(Errno)

    /// Why not, one line; nil when it works.
    package var reason: String? {
      switch self {
      case .works: nil
      case .noModule: "this kernel has no tls module"
      case .noCipher: "this kernel's tls module lacks the cipher"
      case .failed(let errno): "kernel TLS cannot be tried: \(errno)"
      }
    }
  }

  /// The bytes of struct tls12_crypto_info_… for a version and cipher; nil when a part has another
  /// length than the cipher's. The caller wipes them.
  package static func cryptoInfo(
    _ version: Version, _ cipher: Cipher, iv: [UInt8], key: [UInt8], salt: [UInt8],
    sequence: [UInt8]
  ) -> [UInt8]? {
    let layout = cipher.layout
    guard iv.count == layout.iv, key.count == layout.key, salt.count == layout.salt,
      sequence.count == layout.sequence
    else { return nil }
    var bytes: [UInt8] = []
    // Reserved whole: growing would leave copies of the key behind.
    bytes.reserveCapacity(4 + layout.iv + layout.key + layout.salt + layout.sequence)
    bytes += NativeBytes.bytes(version.rawValue)
    bytes += NativeBytes.bytes(cipher.rawValue)
    bytes += iv
    bytes += key
    bytes += salt
    bytes += sequence
    return bytes
  }

  /// How far `install` got when it failed.
  package enum InstallFailure: Error, Hashable, Sendable {
    /// Nothing has changed: the userspace session can go on.
    case untouched(KernelError)
    /// The kernel encrypts already, and cannot decrypt: the connection is of no use any more.
    case broken(KernelError)
  }

  /// Hands the keys of a session to the kernel; `transmit` and `receive` as `cryptoInfo` makes them.
  /// From here on plain reads and writes of the socket are those of the TLS session.
  package static func install(
    on socket: Int32, transmit: [UInt8], receive: [UInt8]
  ) throws(InstallFailure) {
    do throws(Errno) {
      try attach(socket)
    } catch {
      throw .untouched(explain(error, attaching: true))
    }
    do throws(Errno) {
      try setKeys(socket, TLS_TX, transmit)
    } catch {
      throw .untouched(explain(error, attaching: false))
    }
    do throws(Errno) {
      try setKeys(socket, TLS_RX, receive)
    } catch {
      throw .broken(explain(error, attaching: false))
    }
  }

  private static func explain(_ errno: Errno, attaching: Bool) -> KernelError {
    let support = support(errno, attaching: attaching)
    return KernelError(
      .noKernelTLS, support.reason ?? "\(errno)",
      hint: support == .noModule ? "modprobe tls" : nil, errno: errno)
  }

  /// TCP_ULP gives ENOENT without the module; the keys give it without the cipher, and EINVAL where
  /// the module does not know it at all.
  static func support(_ errno: Errno, attaching: Bool) -> Support {
    switch (errno, attaching) {
    case (.noSuchFileOrDirectory, true), (.protocolNotAvailable, true): .noModule
    case (.noSuchFileOrDirectory, false), (.invalidArgument, false): .noCipher
    default: .failed(errno)
    }
  }

  private static func attach(_ socket: Int32) throws(Errno) {
    let name = Array("tls".utf8)
    let result = unsafe setsockopt(
      socket, clinux_ipproto_tcp, clinux_tcp_ulp, name, socklen_t(name.count))
    // EEXIST: an earlier attempt got this far; without keys the socket is as before.
    if result < 0 && Errno.last != .fileExists { throw Errno.last }
  }

  private static func setKeys(
    _ socket: Int32, _ direction: Int32, _ bytes: [UInt8]
  ) throws(Errno) {
    guard
      unsafe setsockopt(socket, clinux_sol_tls, direction, bytes, socklen_t(bytes.count)) == 0
    else { throw Errno.last }
  }

  /// Tries a version and cipher on a TCP connection of our own over loopback. Loads the modules where
  /// they are missing and that is allowed.
  package static func probe(_ version: Version, _ cipher: Cipher) -> Support {
    let first = attempt(version, cipher)
    let modules = KernelModules()
    switch first {
    case .noModule: modules.load("tls")
    case .noCipher: for name in cipher.modules { modules.load(name) }
    case .works, .failed: return first
    }
    return attempt(version, cipher)
  }

  private static func attempt(_ version: Version, _ cipher: Cipher) -> Support {
    let layout = cipher.layout
    func zeroes(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }
    guard
      let info = cryptoInfo(
        version, cipher, iv: zeroes(layout.iv), key: zeroes(layout.key),
        salt: zeroes(layout.salt), sequence: zeroes(layout.sequence))
    else { return .failed(.invalidArgument) }
    var attaching = true
    do throws(Errno) {
      let deadline = Deadline.after(seconds: 5)
      let listener = try loopbackListener()
      let socket = try connectStream(to: .local(of: listener.raw), deadline: deadline)
      do throws(Errno) {
        try attach(socket.raw)
        attaching = false
        try setKeys(socket.raw, TLS_TX, info)
        try setKeys(socket.raw, TLS_RX, info)
        return .works
      } catch {
        return support(error, attaching: attaching)
      }
    } catch {
      return .failed(error)
    }
  }

  private static func loopbackListener() throws(Errno) -> Descriptor {
    do throws(Errno) {
      return try listenTCP(at: .ipv4(address: [127, 0, 0, 1], port: 0))
    } catch {
      let loopback = [UInt8](repeating: 0, count: 15) + [1]
      return try listenTCP(at: .ipv6(address: loopback, port: 0, scope: 0))
    }
  }
}
