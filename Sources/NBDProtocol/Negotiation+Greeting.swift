// SPDX-License-Identifier: Apache-2.0

/// An export's size and flags, checked: NBD_INFO_EXPORT, the answer to NBD_OPT_EXPORT_NAME, and the
/// oldstyle greeting all give them.
struct SizeAndFlags: Hashable, Sendable {
  let size: UInt64
  let flags: ExportFlags

  init(size: UInt64, flags: UInt16) throws(NegotiationError) {
    guard size < Export.sizeLimit else {
      throw NegotiationError(
        .protocolViolation, "the server gives an export size of \(size) bytes, beyond 2^63 - 1")
    }
    self.size = size
    var flags = ExportFlags(rawValue: flags).intersection(.known)
    // DF is never asked for, so nothing may depend on it; and there is nothing to be fast at
    // without WRITE_ZEROES. Believing them could only do harm.
    flags.remove(.sendDF)
    if !flags.contains(.sendWriteZeroes) { flags.remove(.sendFastZero) }
    self.flags = flags
  }

  /// For `-v`.
  var description: String { "size \(size), flags " + flags.names.joined(separator: " ") }
}

extension Negotiation {
  mutating func acceptInitialMagic(_ bytes: [UInt8]) throws(NegotiationError) {
    var reader = ByteReader(bytes)
    guard reader.integer(UInt64.self) == Handshake.initialMagic else {
      throw NegotiationError(
        .notNBD, "not an NBD server: it begins with \"\(Printable.ascii(bytes))\"")
    }
    state = .secondMagic
  }

  mutating func acceptSecondMagic(_ bytes: [UInt8]) throws(NegotiationError) {
    var reader = ByteReader(bytes)
    switch reader.integer(UInt64.self) {
    case Handshake.optionMagic: state = .handshakeFlags
    case Handshake.oldstyleMagic:
      trace.append("server: oldstyle")
      guard security == .plaintext else {
        throw NegotiationError(
          .serverCannotTLS, "the server cannot do TLS: it speaks the oldstyle protocol")
      }
      guard exportName == .defaultExport else {
        throw NegotiationError(
          .exportUnknown,
          "the server has no export \(exportName): it speaks the oldstyle protocol, which has no"
            + " names")
      }
      state = .oldstyleRest
    default:
      throw NegotiationError(
        .notNBD,
        "not an NBD server we know: its greeting goes on with \"\(Printable.ascii(bytes))\"")
    }
  }

  mutating func acceptOldstyleRest(_ bytes: [UInt8]) throws(NegotiationError) {
    var reader = ByteReader(bytes)
    guard let size = reader.integer(UInt64.self), let flags = reader.integer(UInt32.self) else {
      throw endOfStream(after: bytes.count)
    }
    // The upper half would hold handshake flags, which oldstyle servers must not set; whatever one
    // means by them, we do not know it (QEMU refuses as well).
    guard let exportFlags = UInt16(exactly: flags) else {
      throw NegotiationError(
        .protocolViolation,
        "the oldstyle server sets unknown export flags 0x\(Printable.hex(flags))")
    }
    try enterTransmission(SizeAndFlags(size: size, flags: exportFlags))
  }

  mutating func acceptHandshakeFlags(_ bytes: [UInt8]) throws(NegotiationError) {
    var reader = ByteReader(bytes)
    guard let raw = reader.integer(UInt16.self) else { throw endOfStream(after: bytes.count) }
    let serverFlags = HandshakeFlags(rawValue: UInt32(raw))
    let isFixed = serverFlags.contains(.fixedNewstyle)
    trace.append(
      "server: newstyle" + (isFixed ? ", fixed" : "")
        + (serverFlags.contains(.noZeroes) ? ", no-zeroes" : ""))
    // Of flags the server offers we take those we know; "the client SHOULD ignore" others.
    clientFlags = serverFlags.intersection([.fixedNewstyle, .noZeroes])
    if !isFixed {
      guard security == .plaintext else {
        throw NegotiationError(
          .serverCannotTLS, "the server cannot do TLS: it does not speak fixed newstyle")
      }
      if goal == .list {
        throw NegotiationError(
          .listRefused, "the server cannot list its exports: it does not speak fixed newstyle")
      }
    }
    outgoing.append(bigEndian: clientFlags.rawValue)
    if security == .tlsRequired {
      ask(.startTLS)
    } else if isFixed {
      beginOptions()
    } else {
      askByExportName()
    }
  }

  mutating func acceptExportAnswer(_ bytes: [UInt8]) throws(NegotiationError) {
    var reader = ByteReader(bytes)
    guard let size = reader.integer(UInt64.self), let flags = reader.integer(UInt16.self) else {
      throw endOfStream(after: bytes.count)
    }
    try enterTransmission(SizeAndFlags(size: size, flags: flags))
  }

  private mutating func enterTransmission(_ sizeAndFlags: SizeAndFlags) {
    trace.append("server: " + sizeAndFlags.description)
    isTransmitting = true
    finishWithExport(sizeAndFlags)
  }
}
