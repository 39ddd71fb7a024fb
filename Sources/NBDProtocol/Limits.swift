// SPDX-License-Identifier: Apache-2.0

/// Bounds on what a peer may make us read and keep while options are negotiated. Anything beyond
/// is `NegotiationError.Kind.limitExceeded`, raised before the bytes are read.
package struct Limits: Hashable, Sendable {
  /// Longest export name: the protocol's bound on any string, 4096 bytes.
  package var name = ExportName.maximumLength
  /// Longest description of an export, likewise.
  package var description = 4096
  /// Longest text of an error reply, likewise.
  package var errorText = 4096
  /// Longest option reply of any other kind (information that we do not know).
  package var replyLength = 16_384
  /// Most NBD_REP_INFO replies to one option; the protocol defines four types, each sent once.
  package var infoReplies = 32
  /// Most exports in one listing.
  package var listings = 10_000
  /// Most bytes of names and descriptions in one listing.
  package var listingBytes = 4 << 20
  /// Server side: longest data of an option; a full NBD_OPT_GO needs little more than `name`.
  package var optionLength = 16_384
  /// Server side: most options of one client.
  package var options = 256

  package init() {}

  /// The limits of the product; docs/DEFAULTS.md gives the reasons.
  package static let `default` = Limits()
}
