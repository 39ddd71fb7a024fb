// SPDX-License-Identifier: Apache-2.0
import LinuxIO

/// The relay's way to the server without TLS, where that was explicitly allowed.
@safe
final class PlainChannel: Channel {
  private static let capacity = 512 << 10

  let rawDescriptor: Int32
  private let output: UnsafeMutableRawBufferPointer
  private var first = 0
  private var end = 0

  init(_ socket: consuming Descriptor) {
    rawDescriptor = socket.release()
    unsafe output = .allocate(byteCount: Self.capacity, alignment: 4096)
  }

  deinit {
    unsafe output.deallocate()
    _ = Descriptor(owning: rawDescriptor)
  }

  func receive(into buffer: UnsafeMutableRawBufferPointer) throws(LinkLost) -> Int {
    switch unsafe LinuxIO.receive(rawDescriptor, into: buffer) {
    case .bytes(let n): return n
    case .wouldBlock: return 0
    case .closed: throw LinkLost(reason: "the server closed the connection")
    case .failed(let errno): throw LinkLost(reason: "the connection failed: \(errno)")
    }
  }

  var hasBufferedInput: Bool { false }
  var isWornOut: Bool { false }
  var pendingOutput: Int { end - first }

  func send(_ bytes: UnsafeRawBufferPointer) throws(LinkLost) -> Int {
    let count = min(bytes.count, Self.capacity - end)
    guard count > 0 else { return 0 }
    unsafe UnsafeMutableRawBufferPointer(rebasing: output[end..<(end + count)])
      .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
    end += count
    return count
  }

  func flush() throws(LinkLost) -> Bool {
    while first < end {
      let rest = unsafe UnsafeRawBufferPointer(rebasing: output[first..<end])
      switch unsafe LinuxIO.send(rawDescriptor, rest) {
      case .bytes(let n): first += n
      case .wouldBlock: return false
      case .closed: throw LinkLost(reason: "the server closed the connection")
      case .failed(let errno): throw LinkLost(reason: "the connection failed: \(errno)")
      }
    }
    first = 0
    end = 0
    return true
  }

  func close(by deadline: Deadline) { cut() }
  func cut() { shutdownSocket(rawDescriptor) }
}
