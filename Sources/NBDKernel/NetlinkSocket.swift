// SPDX-License-Identifier: Apache-2.0
internal import CLinux
internal import LinuxIO
internal import SystemPackage

/// What can go wrong in asking the kernel over netlink.
enum NetlinkFailure: Error {
  /// The kernel refused, with its own words where it has some.
  case refused(Errno, text: String?)
  /// A system call failed on our side.
  case system(Errno)
  /// The answer makes no sense.
  case malformed(String)
}

/// A netlink socket of our own. One request at a time.
struct NetlinkSocket: ~Copyable {
  static let generic: Int32 = 16  // NETLINK_GENERIC
  static let diagnosis: Int32 = 4  // NETLINK_SOCK_DIAG
  /// The kernel answers while it takes the request; this only bounds a kernel that does not.
  private static let answerSeconds = 30.0
  /// Far more than any answer that we ask for; a longer one is refused, not grown into.
  private static let bufferSize = 64 * 1024

  let descriptor: Descriptor
  private let port: UInt32

  init(protocol number: Int32) throws(NetlinkFailure) {
    var port: UInt32 = 0
    let raw = unsafe clinux_netlink_open(number, &port)
    guard raw >= 0 else { throw .system(Errno.last) }
    descriptor = Descriptor(owning: raw)
    self.port = port
  }

  /// Sends one request that asks for an acknowledgement, and returns what came before that.
  borrowing func transact(
    _ request: [UInt8], sequence: UInt32
  ) throws(NetlinkFailure) -> [NetlinkMessage] {
    while unsafe clinux_netlink_send(descriptor.raw, request, request.count) < 0 {
      let error = Errno.last
      guard error == .interrupted else { throw .system(error) }
    }
    let deadline = Deadline.after(seconds: Self.answerSeconds)
    var answers: [NetlinkMessage] = []
    while true {
      do throws(Errno) {
        try wait(descriptor, for: .read, until: deadline)
      } catch {
        throw .system(error)
      }
      for message in try Self.receive(from: descriptor.raw) ?? [] where message.sequence == sequence
      {
        guard message.type == NetlinkMessage.errorType else {
          answers.append(message)
          continue
        }
        let verdict: NetlinkVerdict
        do throws(NetlinkFormatError) {
          verdict = try NetlinkVerdict(message)
        } catch {
          throw .malformed(error.message)
        }
        guard verdict.code == 0 else {
          throw .refused(Errno(rawValue: verdict.code), text: verdict.text)
        }
        return answers
      }
    }
  }

  /// The messages of the next datagram; nil when none waits, or it does not come from the kernel.
  static func receive(from descriptor: Int32) throws(NetlinkFailure) -> [NetlinkMessage]? {
    var buffer = [UInt8](repeating: 0, count: bufferSize)
    var sender: UInt32 = 0
    var truncated: Int32 = 0
    let got = unsafe clinux_netlink_receive(
      descriptor, &buffer, buffer.count, &sender, &truncated)
    guard got >= 0 else {
      let error = Errno.last
      if error == .wouldBlock || error == .interrupted { return nil }
      throw .system(error)
    }
    // Any process may send to a netlink port; only port 0 is the kernel.
    guard sender == 0 else { return nil }
    guard truncated == 0 else { throw .malformed("an answer of over \(buffer.count) bytes") }
    do throws(NetlinkFormatError) {
      return try NetlinkMessage.parse(Array(buffer.prefix(got)))
    } catch {
      throw .malformed(error.message)
    }
  }
}
