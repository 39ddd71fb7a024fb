// SPDX-License-Identifier: Apache-2.0
import NBDProtocol

/// Requests that wait to be given to the channel, in order.
@safe
final class OutgoingRequests {
  @safe
  private struct Item {
    var request: Request
    /// Bytes of header and payload, which lie together; no address for a header alone.
    var start: UnsafeRawPointer?
    var count: Int
  }

  private var items: [Item] = []
  private var first = 0
  /// Bytes of the first item that were taken.
  private var taken = 0
  private let header: UnsafeMutableRawBufferPointer

  init() { unsafe header = .allocate(byteCount: Request.size, alignment: 8) }
  deinit { unsafe header.deallocate() }

  var count: Int { items.count - first }
  var isEmpty: Bool { count == 0 }

  /// Queues a request without payload.
  func append(_ request: Request) {
    unsafe items.append(Item(request: request, start: nil, count: Request.size))
  }

  /// Queues a request whose header is put right in front of its payload, over what is there.
  func append(_ request: Request, payload: UnsafeMutableRawBufferPointer) {
    guard let data = payload.baseAddress else { return append(request) }
    let whole = unsafe UnsafeMutableRawBufferPointer(
      start: data - Request.size, count: Request.size + payload.count)
    unsafe encode(request, into: UnsafeMutableRawBufferPointer(rebasing: whole[..<Request.size]))
    unsafe items.append(
      Item(
        request: request, start: UnsafeRawPointer(whole.baseAddress), count: whole.count))
  }

  /// What is left of the first request; nil when none waits. Valid until the next call.
  var next: UnsafeRawBufferPointer? {
    guard first < items.count else { return nil }
    let item = items[first]
    if let start = unsafe item.start {
      return unsafe UnsafeRawBufferPointer(start: start + taken, count: item.count - taken)
    }
    unsafe encode(item.request, into: header)
    return unsafe UnsafeRawBufferPointer(rebasing: header[taken...])
  }

  /// So many bytes of `next` were taken.
  func wrote(_ count: Int) {
    taken += count
    guard first < items.count, taken >= items[first].count else { return }
    taken = 0
    first += 1
    if first == items.count {
      items.removeAll(keepingCapacity: true)
      first = 0
    }
  }
}
