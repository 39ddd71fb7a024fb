// SPDX-License-Identifier: Apache-2.0

/// Bounds of the proxy; docs/DEFAULTS.md says why each is what it is.
package enum ProxyLimits {
  /// Clients in the transmission phase at once, each with a connection to the server of its own.
  package static let clients = 16
  /// Clients in the handshake at once; more wait in the listener's queue.
  package static let handshakes = 32
  /// Seconds for a client's handshake; waiting for a seat is not counted.
  static let handshakeTimeout = 10.0
  /// Seconds that a client waits for one before it to leave.
  static let seatPatience = 2.0
  /// Seconds without accepting after the system had no descriptor for one more client.
  static let acceptPause = 0.5
  /// Seconds for the orderly end of a connection that is not needed any more.
  static let partingTimeout = 1.0
}
