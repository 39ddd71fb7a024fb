// SPDX-License-Identifier: Apache-2.0
import Foundation
import LinuxIO
import NBDProtocol

@testable import NBDSecure

/// Reads every request, and answers when told to.
final class HoldingServer: @unchecked Sendable {
  private let lock = NSLock()
  private var held: [Request] = []
  private var answering = false
  let socket: Int32
  let far: Int32
  init() throws {
    let pair = try SocketPair()
    socket = pair.second.release()
    far = pair.first.release()
    Foundation.Thread.detachNewThread { [self] in
      while let header = try? LinuxIO.receive(Request.size, from: socket, until: .never),
        let request = try? Request(decoding: header.span)
      {
        if request.payloadLength > 0 {
          _ = try? LinuxIO.receive(Int(request.payloadLength), from: socket, until: .never)
        }
        lock.withLock {
          held.append(request)
          if answering { answer() }
        }
      }
    }
  }
  var count: Int { lock.withLock { held.count } }
  private func answer() {
    for request in held {
      let data =
        request.command == .read ? [UInt8](repeating: 0, count: Int(request.length)) : []
      try? sendAll(
        SimpleReply(cookie: request.cookie).encoded + data, to: socket, until: .after(seconds: 60))
    }
    held = []
  }
  func answerAll() {
    lock.withLock {
      answering = true
      answer()
    }
  }
}
