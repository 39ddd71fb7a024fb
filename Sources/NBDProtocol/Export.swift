// SPDX-License-Identifier: Apache-2.0

/// An export as the server described it, checked.
package struct Export: Hashable, Sendable {
  /// First size that is refused: Linux offsets are signed 64-bit numbers.
  package static let sizeLimit: UInt64 = 1 << 63

  /// The name that was asked for.
  package let name: ExportName
  /// NBD_INFO_NAME: the server's own name of it, where it gave one.
  package let canonicalName: String?
  /// NBD_INFO_DESCRIPTION: free text for people; not made printable.
  package let description: String?
  /// Bytes, below `sizeLimit`. 0 is legal in the protocol: an empty export can be shown and
  /// served, but is no use as a block device, so whoever binds it to the kernel refuses it.
  package let size: UInt64
  /// What the server allows, unknown bits dropped.
  package let flags: ExportFlags
  /// NBD_INFO_BLOCK_SIZE; nil where the server said nothing.
  package let blockSizes: BlockSizes?

  package init(
    name: ExportName, canonicalName: String? = nil, description: String? = nil, size: UInt64,
    flags: ExportFlags, blockSizes: BlockSizes? = nil
  ) {
    self.name = name
    self.canonicalName = canonicalName
    self.description = description
    self.size = size
    self.flags = flags
    self.blockSizes = blockSizes
  }

  /// Bytes at the end that no whole block of `blockSize` covers: left out by a block device, and
  /// the user is told. 0 for a block size of 0.
  package func trailingBytes(blockSize: UInt32) -> UInt64 {
    blockSize == 0 ? 0 : size % UInt64(blockSize)
  }
}

/// One entry of NBD_OPT_LIST.
package struct ExportListing: Hashable, Sendable {
  /// As the server sent it; bytes that are not UTF-8 became U+FFFD. Not made printable.
  package let name: String
  /// Free text for people, nil where there is none. Not made printable.
  package let description: String?

  package init(name: String, description: String? = nil) {
    self.name = name
    self.description = description
  }
}
