// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel
import NBDProtocol

/// What the kernel is told of a device, decided from the export and the user's wishes.
struct DevicePlan: Sendable, Hashable {
  /// Bytes, a multiple of the block size.
  var size: UInt64
  /// Logical block size, bytes.
  var blockSize: UInt32
  /// Transmission flags for the kernel.
  var flags: ExportFlags
  /// Longest request, bytes.
  var maximumRequest: UInt32

  /// Decides.
  ///
  /// - Parameter warn: hears of trailing bytes that are left out.
  /// - Throws: `NBDSecureError` where the export cannot be a device, or the options do not fit it.
  init(
    export: Export, request: AttachRequest, readOnly: Bool, connections: Int,
    pageSize: UInt32 = UInt32(ThisProcess.pageSize), warn: (String) -> Void
  ) throws(NBDSecureError) {
    let name = request.connection.endpoint.description
    let minimum = max(export.blockSizes?.minimum ?? 1, 512)
    blockSize = request.blockSize ?? minimum
    guard blockSize >= minimum else {
      throw usage(
        "--block-size \(blockSize): \(name) demands blocks of at least \(minimum) bytes")
    }
    if let asked = request.blockSize, asked > pageSize, minimum <= pageSize {
      throw NBDSecureError(
        .kernel, "--block-size \(asked): more than this kernel's pages of \(pageSize)",
        hint: "leave it out: \(name) takes blocks of \(minimum) bytes")
    }
    guard blockSize <= pageSize else {
      throw NBDSecureError(
        .kernel,
        "\(name): blocks of \(blockSize) bytes are more than this kernel's pages of \(pageSize)",
        hint: "serve the export with a smaller minimum block size")
    }
    guard export.size > 0 else {
      throw NBDSecureError(.unavailable, "\(name): the export is empty (0 bytes)")
    }
    guard export.size <= UInt64(Int64.max) else {
      throw NBDSecureError(.kernel, "\(name): \(export.size) bytes are too many for the kernel")
    }
    let trailing = export.size % UInt64(blockSize)
    size = export.size - trailing
    guard size > 0 else {
      throw NBDSecureError(
        .unavailable,
        "\(name): the export's \(export.size) bytes are less than a block of \(blockSize)")
    }
    if trailing > 0 {
      warn(
        "\(name): the last \(trailing) bytes are left out: the size is not a multiple of the "
          + "block size \(blockSize)")
    }
    flags = export.flags
    if readOnly || request.readOnly { flags.insert(.readOnly) }
    if connections < 2 { flags.remove(.canMultiConn) }
    let limit = min(export.blockSizes?.maximum ?? .max, Relay.Limits.maximumRequest)
    maximumRequest = max(limit / blockSize * blockSize, blockSize)
  }
}
