// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol

/// A piece of a stream that is written out when all before it are.
struct OrderedPiece {
  var range: Range<UInt64>
  /// The slot that holds it; −1 for zeroes.
  var slot: Int
  var isReady: Bool
}

// Tasks: how they begin, and what is done when the server has answered.
extension CopyLane {
  private func take(_ range: Range<UInt64>) -> Int {
    let slot = freeSlots.removeLast()
    slots[slot] = Slot(range: range, pending: 0)
    return slot
  }

  private func release(_ slot: Int) {
    freeSlots.append(slot)
    plan.complete(slots[slot].range)
  }

  /// Moves or compares data.
  func begin(_ range: Range<UInt64>) throws(NBDSecureError) {
    let slot = take(range)
    if settings.direction == .upload, !plan.isVerifying {
      if file.kind == .stream {
        filling = (slot, 0)
        return
      }
      unsafe try file.read(at: range.lowerBound, into: content(of: slot))
      return upload(slot)
    }
    if file.kind == .stream {
      ordered.append(OrderedPiece(range: range, slot: slot, isReady: false))
    }
    slots[slot].pending = 1
    let length = UInt32(clamping: range.upperBound - range.lowerBound)
    ask(
      Request(.read, cookie: takeCookie(), offset: range.lowerBound, length: length), slot: slot)
  }

  /// Makes a range zero on the other side.
  func beginZeroes(_ range: Range<UInt64>) throws(NBDSecureError) {
    switch settings.direction {
    case .download where file.kind == .stream:
      ordered.append(OrderedPiece(range: range, slot: -1, isReady: true))
      try putOut()
    case .download:
      try file.zero(range)
      plan.complete(range)
    case .upload:
      let slot = take(range)
      if settings.writesZeroes {
        askZeroes(range, slot: slot)
      } else {
        // The plan cuts zeroes to the length of data where they are sent as such.
        unsafe content(of: slot).initializeMemory(as: UInt8.self, repeating: 0)
        upload(slot)
      }
    }
  }

  private func askZeroes(_ range: Range<UInt64>, slot: Int) {
    slots[slot].pending += 1
    let length = UInt32(clamping: range.upperBound - range.lowerBound)
    ask(
      Request(.writeZeroes, cookie: takeCookie(), offset: range.lowerBound, length: length),
      slot: slot)
  }

  /// Sends a slot's data: zeroes in it as such, where the server takes them.
  private func upload(_ slot: Int) {
    let content = unsafe content(of: slot)
    let offset = slots[slot].range.lowerBound
    var start = 0
    while start < content.count {
      var end = content.count
      if settings.writesZeroes {
        let run = unsafe ZeroRun(
          in: UnsafeRawBufferPointer(content), from: start, offset: offset,
          granularity: CopyLimits.zeroGranularity)
        end = run.end
        if run.isZero {
          askZeroes(offset + UInt64(start)..<offset + UInt64(end), slot: slot)
          start = end
          continue
        }
      }
      slots[slot].pending += 1
      // A header fits in front: there is the headroom, or a run of zeroes, which is not sent.
      unsafe write(
        Request(
          .write, cookie: takeCookie(), offset: offset + UInt64(start),
          length: UInt32(clamping: end - start)),
        slot: slot, payload: UnsafeMutableRawBufferPointer(rebasing: content[start..<end]))
      start = end
    }
    if slots[slot].pending == 0 { release(slot) }
  }

  /// A request of a task was carried out.
  func finish(_ slot: Int) throws(NBDSecureError) {
    slots[slot].pending -= 1
    guard slots[slot].pending == 0 else { return }
    if plan.isVerifying {
      try compare(slot)
    } else if settings.direction == .download {
      if file.kind == .stream {
        if let index = ordered.firstIndex(where: { $0.slot == slot }) {
          ordered[index].isReady = true
        }
        return try putOut()
      }
      unsafe try file.write(
        UnsafeRawBufferPointer(content(of: slot)), at: slots[slot].range.lowerBound)
    }
    release(slot)
  }

  private func compare(_ slot: Int) throws(NBDSecureError) {
    let theirs = unsafe UnsafeRawBufferPointer(content(of: slot))
    let ours = unsafe UnsafeMutableRawBufferPointer(rebasing: scratch[..<theirs.count])
    let offset = slots[slot].range.lowerBound
    unsafe try file.read(at: offset, into: ours)
    if let index = unsafe firstDifference(theirs, UnsafeRawBufferPointer(ours)) {
      plan.differs(at: offset + UInt64(index))
    }
  }

  // MARK: Streams

  /// Writes out the pieces of a stream whose turn it is.
  private func putOut() throws(NBDSecureError) {
    while let piece = ordered.first, piece.isReady {
      ordered.removeFirst()
      if piece.slot >= 0 {
        unsafe try file.append(UnsafeRawBufferPointer(content(of: piece.slot)))
        release(piece.slot)
        continue
      }
      unsafe scratch.initializeMemory(as: UInt8.self, repeating: 0)
      var left = piece.range.upperBound - piece.range.lowerBound
      while left > 0 {
        let count = Int(min(left, UInt64(unsafe scratch.count)))
        unsafe try file.append(UnsafeRawBufferPointer(rebasing: scratch[..<count]))
        left -= UInt64(count)
      }
      plan.complete(piece.range)
    }
    // The reader may have been slow: that was not the server's silence.
    madeProgress()
  }

  /// Reads more of a stream into the slot that is being filled.
  func fill() throws(NBDSecureError) {
    guard let (slot, got) = filling else { return }
    var count = got
    let content = unsafe content(of: slot)
    let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: content[count...])
    switch unsafe readSome(file.descriptor, into: rest) {
    case .wouldBlock: return
    case .failed(let errno): throw file.failure("cannot be read", errno)
    case .bytes(let n):
      count += n
      filling = (slot, count)
      guard count == content.count else { return }
      filling = nil
      upload(slot)
    case .closed:
      filling = nil
      try endStream(in: slot, at: count)
    }
  }

  /// The stream ended before the export does, `count` bytes into a slot.
  private func endStream(in slot: Int, at count: Int) throws(NBDSecureError) {
    let range = slots[slot].range
    let end = range.lowerBound + UInt64(count)
    guard settings.allowShorter else {
      throw NBDSecureError(
        .io, "\(file.name): ended after \(end) bytes, before the export does",
        hint: "--allow-shorter takes a source that is shorter than the export")
    }
    // The last block is filled with zeroes: servers take whole blocks only.
    let block = settings.block
    let padded = min(range.upperBound, (end + block - 1) / block * block)
    unsafe UnsafeMutableRawBufferPointer(rebasing: content(of: slot)[count...])
      .initializeMemory(as: UInt8.self, repeating: 0)
    plan.endOfSource()
    slots[slot].range = range.lowerBound..<padded
    upload(slot)
  }
}
