// SPDX-License-Identifier: Apache-2.0

/// A generic netlink family as the kernel numbers it since the driver was loaded.
package struct GenericNetlinkFamily: Hashable, Sendable {
  private static let controller: UInt16 = 16  // GENL_ID_CTRL
  private static let getFamily: UInt8 = 3  // CTRL_CMD_GETFAMILY
  private static let newFamily: UInt8 = 1  // CTRL_CMD_NEWFAMILY
  static let headerSize = 4  // struct genlmsghdr

  private enum Attribute {
    static let familyID: UInt16 = 1
    static let familyName: UInt16 = 2
    static let multicastGroups: UInt16 = 7
    static let groupName: UInt16 = 1
    static let groupID: UInt16 = 2
  }

  /// The message type of the family.
  package let identifier: UInt16
  /// The multicast groups by name.
  package let groups: [String: UInt32]

  /// The request for a family of that name.
  package static func query(name: String, sequence: UInt32) -> [UInt8] {
    var builder = NetlinkBuilder(
      family: controller, command: getFamily, version: 1, sequence: sequence)
    builder.put(Attribute.familyName, name)
    return builder.finished
  }

  /// Reads the answer to `query`.
  package init(_ messages: [NetlinkMessage]) throws(NetlinkFormatError) {
    for message in messages
    where message.type == Self.controller && message.payload.first == Self.newFamily {
      let attributes = try NetlinkAttribute.parse(message.payload.dropFirst(Self.headerSize))
      guard let found = attributes.first(where: { $0.type == Attribute.familyID })?.uint16 else {
        continue
      }
      var groups: [String: UInt32] = [:]
      for list in attributes where list.type == Attribute.multicastGroups {
        for group in try list.nested() {
          let inside = try group.nested()
          if let name = inside.first(where: { $0.type == Attribute.groupName })?.string,
            let number = inside.first(where: { $0.type == Attribute.groupID })?.uint32
          {
            groups[name] = number
          }
        }
      }
      identifier = found
      self.groups = groups
      return
    }
    throw NetlinkFormatError(message: "an answer without the family's number")
  }
}
