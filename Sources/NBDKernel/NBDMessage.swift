// SPDX-License-Identifier: Apache-2.0

/// The messages of the driver's netlink family (linux/nbd-netlink.h).
package enum NBDMessage {
  package static let familyName = "nbd"
  package static let groupName = "nbd_mc_group"
  private static let version: UInt8 = 1

  private enum Command {
    static let connect: UInt8 = 1  // NBD_CMD_CONNECT
    static let disconnect: UInt8 = 2  // NBD_CMD_DISCONNECT
    static let reconfigure: UInt8 = 3  // NBD_CMD_RECONFIGURE
    static let linkDead: UInt8 = 4  // NBD_CMD_LINK_DEAD
    static let status: UInt8 = 5  // NBD_CMD_STATUS
  }

  private enum Attribute {
    static let index: UInt16 = 1
    static let sizeBytes: UInt16 = 2
    static let blockSizeBytes: UInt16 = 3
    static let timeout: UInt16 = 4
    static let serverFlags: UInt16 = 5
    static let clientFlags: UInt16 = 6
    static let sockets: UInt16 = 7
    static let deadConnTimeout: UInt16 = 8
    static let deviceList: UInt16 = 9
    static let backendIdentifier: UInt16 = 10
    static let socketItem: UInt16 = 1
    static let socketDescriptor: UInt16 = 1
    static let deviceItem: UInt16 = 1
    static let deviceIndex: UInt16 = 1
    static let deviceConnected: UInt16 = 2
  }

  /// NBD_CMD_CONNECT; with no index the kernel picks a free device.
  package static func connect(
    family: UInt16, sequence: UInt32, index: DeviceIndex?, parameters: DeviceParameters,
    sockets: [Int32]
  ) -> [UInt8] {
    var builder = NetlinkBuilder(
      family: family, command: Command.connect, version: version, sequence: sequence)
    if let index { builder.put(Attribute.index, index.rawValue) }
    builder.put(Attribute.sizeBytes, parameters.size)
    builder.put(Attribute.blockSizeBytes, UInt64(parameters.blockSize))
    builder.put(Attribute.serverFlags, UInt64(parameters.flags))
    put(&builder, parameters, sockets)
    return builder.finished
  }

  /// NBD_CMD_RECONFIGURE: new sockets for dead ones. Without the size, which never changes here.
  package static func reconfigure(
    family: UInt16, sequence: UInt32, index: DeviceIndex, parameters: DeviceParameters,
    sockets: [Int32]
  ) -> [UInt8] {
    var builder = NetlinkBuilder(
      family: family, command: Command.reconfigure, version: version, sequence: sequence)
    builder.put(Attribute.index, index.rawValue)
    put(&builder, parameters, sockets)
    return builder.finished
  }

  private static func put(
    _ builder: inout NetlinkBuilder, _ parameters: DeviceParameters, _ sockets: [Int32]
  ) {
    // The timeouts always, also when 0: the device may still have its previous user's.
    builder.put(Attribute.timeout, parameters.timeoutSeconds)
    builder.put(Attribute.deadConnTimeout, parameters.deadConnTimeoutSeconds)
    builder.put(Attribute.clientFlags, UInt64(0))
    if !parameters.backendIdentifier.isEmpty {
      builder.put(Attribute.backendIdentifier, parameters.backendIdentifier)
    }
    builder.nest(Attribute.sockets) { list in
      for socket in sockets {
        list.nest(Attribute.socketItem) {
          $0.put(Attribute.socketDescriptor, UInt32(bitPattern: socket))
        }
      }
    }
  }

  /// NBD_CMD_RECONFIGURE that changes nothing: the kernel only looks whether there is a connection.
  package static func inquiry(
    family: UInt16, sequence: UInt32, index: DeviceIndex, backend: String
  ) -> [UInt8] {
    var builder = NetlinkBuilder(
      family: family, command: Command.reconfigure, version: version, sequence: sequence)
    builder.put(Attribute.index, index.rawValue)
    builder.put(Attribute.backendIdentifier, backend)
    return builder.finished
  }

  /// NBD_CMD_DISCONNECT
  package static func disconnect(
    family: UInt16, sequence: UInt32, index: DeviceIndex
  ) -> [UInt8] {
    var builder = NetlinkBuilder(
      family: family, command: Command.disconnect, version: version, sequence: sequence)
    builder.put(Attribute.index, index.rawValue)
    return builder.finished
  }

  /// NBD_CMD_STATUS of one device, or of all.
  package static func status(family: UInt16, sequence: UInt32, index: DeviceIndex?) -> [UInt8] {
    var builder = NetlinkBuilder(
      family: family, command: Command.status, version: version, sequence: sequence)
    if let index { builder.put(Attribute.index, index.rawValue) }
    return builder.finished
  }

  /// The device that the kernel chose, from the answer to CONNECT.
  package static func connected(
    _ messages: [NetlinkMessage], family: UInt16
  ) throws(NetlinkFormatError) -> DeviceIndex {
    for message in messages where isReply(message, Command.connect, of: family) {
      let attributes = try NetlinkAttribute.parse(
        message.payload.dropFirst(GenericNetlinkFamily.headerSize))
      if let index = attributes.first(where: { $0.type == Attribute.index })?.uint32 {
        return DeviceIndex(index)
      }
    }
    throw NetlinkFormatError(message: "an answer without the device's number")
  }

  /// Which devices are configured, from the answer to STATUS.
  package static func statuses(
    _ messages: [NetlinkMessage], family: UInt16
  ) throws(NetlinkFormatError) -> [DeviceIndex: Bool] {
    var found: [DeviceIndex: Bool] = [:]
    for message in messages where isReply(message, Command.status, of: family) {
      let attributes = try NetlinkAttribute.parse(
        message.payload.dropFirst(GenericNetlinkFamily.headerSize))
      for list in attributes where list.type == Attribute.deviceList {
        for item in try list.nested() where item.type == Attribute.deviceItem {
          let inside = try item.nested()
          guard let index = inside.first(where: { $0.type == Attribute.deviceIndex })?.uint32,
            let connected = inside.first(where: { $0.type == Attribute.deviceConnected })?.uint8
          else { continue }
          found[DeviceIndex(index)] = connected != 0
        }
      }
    }
    return found
  }

  /// The devices whose link died, from what the multicast group brought.
  package static func deadLinks(
    _ messages: [NetlinkMessage], family: UInt16
  ) throws(NetlinkFormatError) -> [DeviceIndex] {
    var found: [DeviceIndex] = []
    for message in messages where isReply(message, Command.linkDead, of: family) {
      let attributes = try NetlinkAttribute.parse(
        message.payload.dropFirst(GenericNetlinkFamily.headerSize))
      if let index = attributes.first(where: { $0.type == Attribute.index })?.uint32 {
        found.append(DeviceIndex(index))
      }
    }
    return found
  }

  private static func isReply(
    _ message: NetlinkMessage, _ command: UInt8, of family: UInt16
  ) -> Bool {
    message.type == family && message.payload.first == command
  }
}
