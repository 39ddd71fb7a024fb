// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// Why a host name gave no address.
package struct ResolveError: Error, Hashable, Sendable {
  /// Who must act.
  package enum Kind: Hashable, Sendable {
    /// The name does not exist, or has no address.
    case unknownName
    /// The name service could not answer; trying again may help.
    case temporary
    /// The deadline passed before the answer came.
    case timedOut
    /// Anything else.
    case failed
  }

  package let kind: Kind
  /// What the resolver says, one line.
  package let message: String
}

/// The addresses of `host` in the order to try them. The look-up runs on a thread of its own, which
/// is left behind when the deadline passes, since getaddrinfo(3) knows no time limit.
package func resolve(
  host: String, port: UInt16, deadline: Deadline
) throws(ResolveError) -> [SocketAddress] {
  if let numeric = SocketAddress(numeric: host, port: port) { return [numeric] }
  let lookup: Lookup
  do {
    lookup = Lookup(done: try EventSignal())
    try spawnDetachedThread(name: "resolver", stackSize: Lookup.stackSize) {
      lookup.run(host: host, port: port)
    }
    try lookup.done.wait(until: deadline)
  } catch .timedOut {
    throw ResolveError(kind: .timedOut, message: "the name service did not answer in time")
  } catch {
    throw ResolveError(kind: .failed, message: "\(error)")
  }
  return try lookup.outcome
}

private final class Lookup: Sendable {
  // NSS modules (DNS, LDAP) run on this stack, so it is larger than our own threads'.
  static let stackSize = 1 << 20
  let done: EventSignal
  private let result = Mutex<Result<[SocketAddress], ResolveError>?>(nil)

  init(done: consuming EventSignal) { self.done = done }

  var outcome: [SocketAddress] {
    get throws(ResolveError) {
      guard let result = result.withLock({ $0 }) else {
        throw ResolveError(kind: .failed, message: "the look-up ended without a result")
      }
      return try result.get()
    }
  }

  func run(host: String, port: UInt16) {
    let found: Result<[SocketAddress], ResolveError>
    do {
      found = .success(try addresses(of: host, port: port, flags: AI_ADDRCONFIG))
    } catch {
      found = .failure(error)
    }
    result.withLock { $0 = found }
    done.signal()
  }
}

/// One blocking getaddrinfo(3).
func addresses(
  of host: String, port: UInt16, flags: Int32
) throws(ResolveError) -> [SocketAddress] {
  var hints = unsafe addrinfo()
  unsafe hints.ai_flags = flags
  unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
  var list: UnsafeMutablePointer<addrinfo>?
  let status = unsafe getaddrinfo(host, String(port), &hints, &list)
  defer { if let list = unsafe list { unsafe freeaddrinfo(list) } }
  guard status == 0 else {
    // EAI_NODATA (-5) and EAI_ADDRFAMILY (-9) are hidden behind _GNU_SOURCE.
    let kind: ResolveError.Kind =
      switch status {
      case EAI_NONAME, -5, -9: .unknownName
      case EAI_AGAIN: .temporary
      default: .failed
      }
    throw ResolveError(kind: kind, message: unsafe String(cString: gai_strerror(status)))
  }
  var found: [SocketAddress] = []
  var next = unsafe list
  while let entry = unsafe next {
    unsafe next = entry.pointee.ai_next
    var raw = clinux_address()
    let length = min(Int(unsafe entry.pointee.ai_addrlen), MemoryLayout<clinux_address>.size)
    guard let from = unsafe entry.pointee.ai_addr else { continue }
    unsafe withUnsafeMutableBytes(of: &raw) {
      unsafe $0.copyMemory(from: .init(start: from, count: length))
    }
    if let address = unsafe SocketAddress(raw: &raw, length: socklen_t(length)),
      !found.contains(address)
    {
      found.append(address)
    }
  }
  guard !found.isEmpty else {
    throw ResolveError(kind: .unknownName, message: "no address for this name")
  }
  return found
}
