// SPDX-License-Identifier: Apache-2.0

extension Negotiation {
  /// One entry of NBD_OPT_LIST: the name's length, the name, and a description in what is left.
  mutating func acceptListing(_ payload: [UInt8]) throws(NegotiationError) {
    findings.listingCount += 1
    findings.listingBytes += payload.count
    guard findings.listingCount <= limits.listings else {
      throw NegotiationError(
        .limitExceeded, "the server lists more than \(limits.listings) exports")
    }
    guard findings.listingBytes <= limits.listingBytes else {
      throw NegotiationError(
        .limitExceeded, "the server's list of exports is longer than \(limits.listingBytes) bytes")
    }
    var reader = ByteReader(payload)
    guard let length = reader.integer(UInt32.self),
      let name = reader.take(Int(clamping: length))
    else {
      throw NegotiationError(
        .protocolViolation, "an export name in the server's list is longer than its entry")
    }
    guard name.count <= limits.name, reader.count <= limits.description else {
      throw NegotiationError(
        .limitExceeded, "the server lists an export whose name or description is too long")
    }
    let description = reader.count == 0 ? nil : String(decoding: reader.takeRest(), as: UTF8.self)
    if goal == .list {
      findings.listings.append(
        ExportListing(name: String(decoding: name, as: UTF8.self), description: description))
    } else if exportName.matches(name) {
      findings.isListed = true
      findings.description = description
    }
  }

  /// The list is complete: it is the answer, or says whether NBD_OPT_EXPORT_NAME can succeed.
  mutating func finishListing() throws(NegotiationError) {
    trace.append("server: \(findings.listingCount) exports listed")
    if goal == .list {
      finish(.listing(findings.listings))
    } else if findings.isListed || exportName == .defaultExport {
      // A default export need not be listed under its empty name.
      askByExportName()
    } else {
      throw NegotiationError(.exportUnknown, "the server does not list an export \(exportName)")
    }
  }

  /// One NBD_REP_INFO. Any order; types that we do not know are ignored; one that comes twice must
  /// say the same both times.
  mutating func acceptInfo(_ payload: [UInt8], of option: Option) throws(NegotiationError) {
    findings.infoReplies += 1
    guard findings.infoReplies <= limits.infoReplies else {
      throw NegotiationError(
        .limitExceeded,
        "the server sends more than \(limits.infoReplies) replies to \(option.name)")
    }
    var reader = ByteReader(payload)
    guard let type = reader.integer(UInt16.self) else {
      throw NegotiationError(.protocolViolation, "an NBD_REP_INFO is too short to have a type")
    }
    switch InfoType(rawValue: type) {
    case .export:
      try expect(reader.count, 10, "NBD_INFO_EXPORT")
      guard let size = reader.integer(UInt64.self), let flags = reader.integer(UInt16.self) else {
        return
      }
      let value = try SizeAndFlags(size: size, flags: flags)
      try Self.keep(value, in: &findings.sizeAndFlags, "NBD_INFO_EXPORT")
      trace.append("got NBD_INFO_EXPORT: " + value.description)
    case .name:
      let value = try text(reader.takeRest(), limit: limits.name, "NBD_INFO_NAME")
      try Self.keep(value, in: &findings.canonicalName, "NBD_INFO_NAME")
      trace.append("got NBD_INFO_NAME: " + Printable.quoted(value))
    case .description:
      let value = try text(reader.takeRest(), limit: limits.description, "NBD_INFO_DESCRIPTION")
      try Self.keep(value, in: &findings.description, "NBD_INFO_DESCRIPTION")
      trace.append("got NBD_INFO_DESCRIPTION: " + Printable.quoted(value))
    case .blockSize:
      try expect(reader.count, 12, "NBD_INFO_BLOCK_SIZE")
      guard let minimum = reader.integer(UInt32.self), let preferred = reader.integer(UInt32.self),
        let maximum = reader.integer(UInt32.self)
      else { return }
      let value = try blockSizes(minimum, preferred, maximum)
      try Self.keep(value, in: &findings.blockSizes, "NBD_INFO_BLOCK_SIZE")
      trace.append("got NBD_INFO_BLOCK_SIZE: \(minimum), \(preferred), \(maximum)")
    case nil: trace.append("ignored information of type \(type)")
    }
  }

  private func blockSizes(
    _ minimum: UInt32, _ preferred: UInt32, _ maximum: UInt32
  ) throws(NegotiationError) -> BlockSizes {
    do throws(BlockSizesError) {
      return try BlockSizes(minimum: minimum, preferred: preferred, maximum: maximum)
    } catch {
      throw NegotiationError(.protocolViolation, "the server's \(error)")
    }
  }

  private func expect(_ count: Int, _ expected: Int, _ name: String) throws(NegotiationError) {
    guard count == expected else {
      throw NegotiationError(
        .protocolViolation, "\(name) has \(count + 2) bytes where \(expected + 2) are due")
    }
  }

  private func text(
    _ bytes: [UInt8], limit: Int, _ name: String
  ) throws(NegotiationError) -> String {
    guard bytes.count <= limit else {
      throw NegotiationError(
        .limitExceeded, "\(name) of \(bytes.count) bytes is too long (at most \(limit))")
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func keep<Value: Equatable>(
    _ value: Value, in place: inout Value?, _ name: String
  ) throws(NegotiationError) {
    if let earlier = place, earlier != value {
      throw NegotiationError(.protocolViolation, "the server sends two different \(name)")
    }
    place = value
  }
}
