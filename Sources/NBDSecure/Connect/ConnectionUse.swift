// SPDX-License-Identifier: Apache-2.0

/// What a connection is for, as far as policy has a say in it.
struct ConnectionUse: Sendable, Hashable {
  /// The data paths that would do; none where no device is attached.
  var dataPaths: Set<PolicyDataPath> = []
  var readOnly = false
  /// Whether it is of no use where only reading is allowed.
  var needsToWrite = false
  /// How long sent data may stay unacknowledged before TCP gives up, seconds; nil leaves it.
  var userTimeout: Double?
  /// The server's key at the first connection of this attachment.
  private(set) var previousPeerKey: String?
  /// The identity of the pre-shared key at the first connection of this attachment.
  private(set) var previousIdentity: String?

  /// What policy is told of an attachment.
  init(_ request: AttachRequest) {
    self.init(
      dataPaths: request.dataPathsThatWouldDo, readOnly: request.readOnly,
      userTimeout: request.ioTimeout)
  }

  init(
    dataPaths: Set<PolicyDataPath> = [], readOnly: Bool = false, needsToWrite: Bool = false,
    userTimeout: Double? = nil
  ) {
    self.dataPaths = dataPaths
    self.readOnly = readOnly
    self.needsToWrite = needsToWrite
    self.userTimeout = userTimeout
  }

  /// Binds later connections to the peer of an earlier one; of several, to the first.
  mutating func bind(peerKey: String?, identity: String?) {
    previousPeerKey = previousPeerKey ?? peerKey
    previousIdentity = previousIdentity ?? identity
  }

  mutating func bind(to connection: Connection) {
    bind(peerKey: connection.facts?.pin, identity: connection.facts?.pskIdentity)
  }

  /// Binds later connections to what has been told of the export, to a device or to clients: policy
  /// that has changed since does not change that, so it must allow that or refuse.
  mutating func settle(writable: Bool, dataPath: PolicyDataPath) {
    needsToWrite = writable
    dataPaths = [dataPath]
  }
}
