// SPDX-License-Identifier: Apache-2.0
import Foundation

/// The real NBD servers that the tests run against.
package enum ServerProgram: String, CaseIterable, Sendable {
  case nbdkit
  case qemuNBD = "qemu-nbd"
  case nbdServer = "nbd-server"

  /// The ways of authentication it has. nbd-server 3.24 knows no keys, and ends every session whose
  /// client shows no certificate, `cacertfile` or not.
  package var authentications: [Authentication] {
    self == .nbdServer ? [.x509WithClientCertificate] : Authentication.allCases
  }
}

/// A TLS version by the name that the command line uses.
package enum TLSVersion: String, CaseIterable, Sendable {
  case v12 = "1.2"
  case v13 = "1.3"

  /// As GnuTLS names it in priorities and in session descriptions.
  package var gnutlsName: String { "TLS\(rawValue)" }

  /// A configuration of GnuTLS (`GNUTLS_SYSTEM_PRIORITY_FILE`) with this version alone. All others
  /// must go: with 1.0 left, a server without 1.2 finds no cipher suite for a client of 1.3.
  package var gnutlsConfiguration: String {
    let others = ["1.0", "1.1", "1.2", "1.3"].filter { $0 != rawValue }
    return others.reduce("[overrides]\n") { $0 + "disabled-version = tls\($1)\n" }
  }
}

/// How a server and its clients prove who they are.
package enum Authentication: String, CaseIterable, Sendable {
  case x509
  case x509WithClientCertificate = "x509 with client certificate"
  case psk
}

/// What a server does about TLS.
package enum ServerTLS: Sendable, Hashable {
  case off
  case required(Authentication, TLSVersion?)

  /// The way of authentication, if any.
  package var authentication: Authentication? {
    if case .required(let authentication, _) = self { authentication } else { nil }
  }
  /// The one version it speaks, or nil for its own choice.
  package var version: TLSVersion? {
    if case .required(_, let version) = self { version } else { nil }
  }
}

/// What to start.
package struct ServerConfiguration: Sendable, Hashable, CustomStringConvertible {
  /// Which server.
  package var program: ServerProgram
  /// Where it listens.
  package var transport: Transport
  /// Its TLS.
  package var tls: ServerTLS
  /// The name of the one export; "" is the default export, which nbd-server has not.
  package var export: String
  /// The export's description, for servers that have them.
  package var exportDescription: String?
  /// Size in bytes.
  package var size: Int
  /// Whether the export is read-only.
  package var readOnly: Bool
  /// Further arguments of the program, before the plugin or file.
  package var arguments: [String]
  /// nbdkit: the plugin with its parameters, where it is not the one that serves the disk.
  package var plugin: [String]?
  /// nbdkit: parameters of filters.
  package var parameters: [String] = []

  /// A server of 16 MiB unless told otherwise.
  package init(
    _ program: ServerProgram, _ transport: Transport = .ipv4,
    tls: ServerTLS = .required(.x509, nil), export: String = "disk-1",
    exportDescription: String? = nil,
    size: Int = 16 << 20, readOnly: Bool = false, arguments: [String] = []
  ) {
    self.program = program
    self.transport = transport
    self.tls = tls
    self.export = export
    self.exportDescription = exportDescription
    self.size = size
    self.readOnly = readOnly
    self.arguments = arguments
  }

  package var description: String {
    let security =
      switch tls {
      case .off: "plain"
      case .required(let authentication, let version):
        "\(authentication.rawValue)\(version.map { ", TLS \($0.rawValue)" } ?? "")"
      }
    return "\(program.rawValue), \(transport.rawValue), \(security)"
  }
}

/// A running server, ended when the value goes away.
package final class Server: Sendable {
  /// What was started.
  package let configuration: ServerConfiguration
  /// The certificates and keys it uses.
  package let pki: PKI
  /// The TCP port; 0 on a Unix socket.
  package let port: Int
  /// The Unix socket's path; "" on TCP.
  package let socketPath: String
  /// The disk that it serves.
  package let disk: String

  private let directory: TemporaryDirectory
  /// The process.
  package let process: ChildProcess

  /// Starts the server and returns when it accepts connections.
  package init(_ configuration: ServerConfiguration, pki: PKI? = nil) throws {
    let pki = try pki ?? PKI.shared.get()
    self.configuration = configuration
    self.pki = pki
    directory = try TemporaryDirectory()
    disk = try directory.disk(size: configuration.size)
    var launch = try Launch(configuration, disk: disk, directory: directory, pki: pki)
    switch launch.listening {
    case .handedOver:
      let listener = try Listener(configuration.transport, path: directory.file("nbd.sock"))
      port = listener.port
      socketPath = listener.socketPath ?? ""
      // Socket activation names the receiving process, whose id only the shell-to-be knows.
      process = try ChildProcess(
        "/bin/sh",
        ["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"", launch.program] + launch.arguments,
        environment: launch.environment, log: directory.file("log"),
        inherited: [listener.descriptor])
    case .byItself:
      let port = configuration.transport == .unix ? 0 : try freePort()
      let path = configuration.transport == .unix ? directory.file("nbd.sock") : ""
      (self.port, socketPath) = (port, path)
      try launch.prepare(port: port, socketPath: path)
      // nbd-server in the foreground serves one connection only, so it runs as a daemon.
      let started = try run(launch.program, launch.arguments, directory: directory.path)
      let ready = eventually(within: started.status == 0 ? 10 : 0) {
        launch.daemon != nil
          && isListening(port: port, socketPath: path, configuration.transport)
      }
      guard ready, let pid = launch.daemon else {
        let daemon = launch.daemon.map { "process \($0)" } ?? "no process"
        throw SystemError(launch.program, because: "\(daemon) listens on port \(port): \(started)")
      }
      process = ChildProcess(adopting: pid, log: directory.file("log"))
    }
  }

  /// What the server wrote.
  package var log: String { process.log }

  /// The name by which certificates know this server.
  package var hostname: String { configuration.transport == .ipv6 ? "::1" : "localhost" }

  /// The options with which nbd-secure reaches this server with the right credentials.
  package var endpoint: [String] { address + credentials }

  /// The options that name the server, without credentials.
  package var address: [String] {
    let name = configuration.export.isEmpty ? [] : ["--export", configuration.export]
    switch configuration.transport {
    case .unix:
      let verified = configuration.tls.authentication ?? .psk
      return ["--unix", socketPath] + (verified == .psk ? [] : ["--tls-hostname", "localhost"])
        + name
    case .ipv4:
      return ["--hostname", "localhost", "--address", "127.0.0.1", "--port", "\(port)"] + name
    case .ipv6: return ["--hostname", "::1", "--port", "\(port)"] + name
    }
  }

  /// The options that give the right credentials.
  package var credentials: [String] {
    switch configuration.tls.authentication {
    case nil: ["--allow-plaintext"]
    case .x509: ["--tls-creds", pki.trustOnly]
    case .x509WithClientCertificate: ["--tls-creds", pki.client]
    case .psk: ["--tls-creds", pki.psk]
    }
  }
}

private func isListening(port: Int, socketPath: String, _ transport: Transport) -> Bool {
  switch transport {
  case .unix: isListening(at: socketPath)
  // A probing connection would leave a child of nbd-server in mid-handshake: ask the kernel.
  case .ipv4, .ipv6:
    ["/proc/net/tcp", "/proc/net/tcp6"].contains { table in
      let wanted = String(format: ":%04X", port)
      return fields(of: table).contains { $0.count > 3 && $0[1].hasSuffix(wanted) && $0[3] == "0A" }
    }
  }
}

/// Whether a process of this network namespace listens on a Unix socket: its file is there earlier.
package func isListening(at socketPath: String) -> Bool {
  fields(of: "/proc/net/unix").contains { line in
    // __SO_ACCEPTCON of include/uapi/linux/net.h.
    line.count > 7 && line[7] == socketPath && UInt32(line[3], radix: 16) == 1 << 16
  }
}

private func fields(of table: String) -> [[Substring]] {
  let text = (try? String(contentsOfFile: table, encoding: .utf8)) ?? ""
  return text.split(separator: "\n").map { $0.split(separator: " ") }
}
