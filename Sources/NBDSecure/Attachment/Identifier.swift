// SPDX-License-Identifier: Apache-2.0
import NBDKernel
import TLS

/// What names an attachment to the kernel: a SHA-256 of endpoint and export in hex. A digest,
/// since long identifiers overflow a sysfs page in the kernel (nbd.c, backend_show).
func backendIdentifier(of endpoint: Endpoint) -> String {
  var text = "nbd-secure 1\0"
  switch endpoint.transport {
  case .tcp(let host, let port, let address):
    text += "tcp\0\(host.lowercased())\0\(port)\0\(address ?? "")"
  case .unix(let path): text += "unix\0\(path)"
  case .vsock(let cid, let port): text += "vsock\0\(cid)\0\(port)"
  }
  return TLSLibrary.sha256Hexadecimal(Array((text + "\0" + endpoint.export).utf8))
}

extension AttachRequest {
  /// The options in a form that compares: two attachments of one export with the same are one. The
  /// device is none of them: which one it is, the state file tells.
  var comparable: String {
    let connection = connection
    let parts: [String] = [
      "credentials=\(connection.credentials)", "tls-hostname=\(connection.tlsHostname ?? "")",
      "tls-min-version=\(connection.minimumVersion)",
      "tls-priority=\(connection.priority ?? "")", "tls-pin=\(connection.pins.map(\.hex).sorted())",
      "policy=\(connection.policyFiles)", "read-only=\(readOnly)",
      "connections=\(connections)", "data-path=\(dataPath)", "binding=\(binding)",
      "block-size=\(blockSize.map(String.init) ?? "")", "reconnect-timeout=\(reconnectTimeout)",
      "io-timeout=\(ioTimeout)", "flush-window=\(flushWindow)",
    ]
    return parts.joined(separator: "\n")
  }

  /// Which options an attachment has that are not those asked for.
  func optionsThatDiffer(from recorded: String) -> [String] {
    let recorded = Set(recorded.split(separator: "\n"))
    return comparable.split(separator: "\n").filter { !recorded.contains($0) }.map {
      let key = $0.prefix { $0 != "=" }
      return key == "credentials" ? "the credentials" : "--\(key)"
    }
  }

  /// Fails with `.kernel` where what is attached is not what is asked for.
  func checkOptions(_ state: AttachmentState) throws(NBDSecureError) {
    let attached = "\(connection.endpoint): attached already as /dev/\(state.device)"
    let hint = "detach it first: nbd-secure detach \(state.device)"
    if let device, DeviceIndex(device)?.name != state.device {
      throw NBDSecureError(
        .kernel, "\(attached), not as \(device)", hint: "leave out --device, or \(hint)")
    }
    let differing = optionsThatDiffer(from: state.options)
    guard !differing.isEmpty else { return }
    throw NBDSecureError(
      .kernel,
      "\(attached) with other options: \(differing.joined(separator: ", ")) "
        + (differing.count == 1 ? "differs" : "differ"),
      hint: hint)
  }

  /// The data paths that would do, as policy is asked.
  var dataPathsThatWouldDo: Set<PolicyDataPath> {
    switch dataPath {
    case .auto: [.relay, .ktls]
    case .relay: [.relay]
    case .ktls: [.ktls]
    }
  }
}
