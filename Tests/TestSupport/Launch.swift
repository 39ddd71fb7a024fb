// SPDX-License-Identifier: Apache-2.0
import Foundation

/// The command line of one server.
struct Launch {
  enum Listening { case handedOver, byItself }

  let program: String
  private(set) var arguments: [String]
  var environment: [String: String] = [:]
  let listening: Listening
  private let configuration: ServerConfiguration
  private let disk: String
  private let directory: TemporaryDirectory
  private let pki: PKI

  init(
    _ configuration: ServerConfiguration, disk: String, directory: TemporaryDirectory, pki: PKI
  ) throws {
    self.configuration = configuration
    self.disk = disk
    self.directory = directory
    self.pki = pki
    program = try locate(configuration.program.rawValue)
    switch configuration.program {
    case .nbdkit:
      listening = .handedOver
      arguments = nbdkitArguments(configuration, disk: disk, pki: pki)
      if let version = configuration.tls.version {
        // nbdkit has no option for the version: GnuTLS's own configuration has.
        environment["GNUTLS_SYSTEM_PRIORITY_FILE"] = try directory.write(
          "gnutls.conf", version.gnutlsConfiguration)
        environment["GNUTLS_SYSTEM_PRIORITY_FAIL_ON_INVALID"] = "1"
      }
    case .qemuNBD:
      listening = .handedOver
      arguments = qemuArguments(configuration, disk: disk, pki: pki)
    case .nbdServer:
      listening = .byItself
      arguments = ["-C", directory.file("nbd-server.conf"), "-p", directory.file("pid")]
    }
  }

  /// The process id that a daemon wrote, once it has.
  var daemon: pid_t? {
    let text = try? String(contentsOfFile: directory.file("pid"), encoding: .utf8)
    return text.flatMap { pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
  }

  /// Writes the configuration of a server that opens its socket by itself.
  mutating func prepare(port: Int, socketPath: String) throws {
    var lines = ["[generic]", "allowlist = true"]
    lines +=
      socketPath.isEmpty
      ? [
        "listenaddr = \(configuration.transport == .ipv6 ? "::1" : "127.0.0.1")", "port = \(port)",
      ] : ["unixsock = \(socketPath)"]
    if case .required(let authentication, let version) = configuration.tls {
      lines += ["force_tls = true", "certfile = \(pki.server)/server-cert.pem"]
      lines += ["keyfile = \(pki.server)/server-key.pem"]
      if authentication == .x509WithClientCertificate {
        lines += ["cacertfile = \(pki.server)/ca-cert.pem"]
      }
      let versions =
        version.map { "-VERS-ALL:+VERS-\($0.gnutlsName)" } ?? "-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
      lines += ["tlsprio = NORMAL:\(versions)"]
    }
    lines += ["[\(configuration.export)]", "exportname = \(disk)", "flush = true", "fua = true"]
    if configuration.readOnly { lines += ["readonly = true"] }
    try directory.write("nbd-server.conf", lines.joined(separator: "\n") + "\n")
  }
}

private func nbdkitArguments(_ wanted: ServerConfiguration, disk: String, pki: PKI) -> [String] {
  var arguments = ["-f", "-v"]
  switch wanted.tls {
  case .off: arguments += ["--tls=off"]
  case .required(.x509, _):
    arguments += ["--tls=require", "--tls-certificates=\(pki.server)"]
  case .required(.x509WithClientCertificate, _):
    arguments += [
      "--tls=require", "--tls-certificates=\(pki.server)",
      "--tls-verify-peer",
    ]
  case .required(.psk, _): arguments += ["--tls=require", "--tls-psk=\(pki.pskFile)"]
  }
  if wanted.readOnly { arguments += ["-r"] }
  arguments += ["--filter=exportname"] + wanted.arguments
  arguments += wanted.plugin ?? ["file", disk]
  arguments += ["exportname=\(wanted.export)", "exportname-strict=true"] + wanted.parameters
  arguments += ["exportname-list=explicit"]
  if let text = wanted.exportDescription { arguments += ["exportdesc=fixed:\(text)"] }
  return arguments
}

private func qemuArguments(_ wanted: ServerConfiguration, disk: String, pki: PKI) -> [String] {
  var arguments = ["-t", "-e", "8", "-f", "raw", "-x", wanted.export]
  if let text = wanted.exportDescription { arguments += ["-D", text] }
  if wanted.readOnly { arguments += ["-r"] }
  if case .required(let authentication, let version) = wanted.tls {
    let priority =
      version.map { ",priority=NORMAL:-VERS-ALL:+VERS-\($0.gnutlsName)" } ?? ""
    let object =
      switch authentication {
      case .x509:
        "tls-creds-x509,id=tls,endpoint=server,dir=\(pki.server),verify-peer=off"
      case .x509WithClientCertificate:
        "tls-creds-x509,id=tls,endpoint=server,dir=\(pki.server),verify-peer=on"
      case .psk: "tls-creds-psk,id=tls,endpoint=server,dir=\(pki.psk)"
      }
    arguments += ["--object", object + priority, "--tls-creds", "tls"]
  }
  return arguments + wanted.arguments + [disk]
}
