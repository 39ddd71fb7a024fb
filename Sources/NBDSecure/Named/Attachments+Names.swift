// SPDX-License-Identifier: Apache-2.0
import NBDKernel

extension Attachments {
  /// The device of a named attachment; nil where it is not attached.
  ///
  /// A supervisor that was killed before it wrote its state file left a device of which only the
  /// kernel's backend identifier tells; that is looked for when the file can be read.
  public static func device(of name: AttachmentName) throws(NBDSecureError) -> String? {
    if let status = try status().first(where: { $0.name == name.description }) {
      return status.device
    }
    guard let attachment = try? NamedAttachment(name.description) else { return nil }
    let identifier = backendIdentifier(of: attachment.request.connection.endpoint)
    return Presence().device(identifier)?.path
  }

  /// What udev is to know of a device: properties that give it its stable name. Empty where it is
  /// not attached by this program, or has no name.
  public static func deviceProperties(of device: String) throws(NBDSecureError) -> [String] {
    guard let index = DeviceIndex(device) else { return [] }
    let found = try status().first { $0.device == index.path }
    guard let name = found?.name.flatMap({ AttachmentName($0) }) else { return [] }
    return ["NBD_SECURE_NAME=\(name)"]
  }
}

extension Attachments {
  /// The paths of all nbd devices, for completion.
  public static func knownDevices() -> [String] { Sysfs().devices().map(\.path) }
}
