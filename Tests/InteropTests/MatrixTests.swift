// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// What is done with each server of the matrix.
enum Operation: String, CaseIterable, Sendable {
  case list, info
  /// Everything written and read back through the transmission phase, over `proxy`.
  case transmission
}

/// One cell of the matrix.
struct Cell: Sendable, CustomStringConvertible {
  var server: ServerConfiguration
  var operation: Operation
  var description: String { "\(operation.rawValue): \(server)" }

  static let all = serverMatrix(transports: Transport.allCases).flatMap { server in
    Operation.allCases.map { Cell(server: server, operation: $0) }
  }
}

/// Every server × TLS version × authentication × operation; Unix sockets and IPv6 once for each server.
@Suite(.serialized) struct MatrixTests {
  @Test(arguments: Cell.all) func worksAgainst(_ cell: Cell) throws {
    let server = try Server(cell.server)
    switch cell.operation {
    case .list: try list(server)
    case .info: try info(server)
    case .transmission: try transmit(server)
    }
  }

  private func transmit(_ server: Server) throws {
    let directory = try TemporaryDirectory()
    let proxy = try ProxyProcess(server.endpoint)
    var generator = SystemRandomNumberGenerator()
    let data = (0..<server.configuration.size / 8).flatMap { _ in Wire.be(generator.next()) }
    let file = try directory.write("data", data)
    let written = try run("nbdcopy", ["--flush", file, proxy.uri])
    #expect(written.status == 0, "\(written)\n\(proxy.log)\n\(server.log)")
    // The server has it all on its disk, and gives it back whole.
    #expect(try Data(contentsOf: URL(fileURLWithPath: server.disk)) == Data(data))
    let back = directory.file("back")
    let read = try run("nbdcopy", [proxy.uri, back])
    #expect(read.status == 0, "\(read)\n\(proxy.log)")
    #expect(try Data(contentsOf: URL(fileURLWithPath: back)) == Data(data))
    proxy.process.signal(SIGTERM)
    #expect(proxy.process.wait(timeout: 10) == .exited(0))
  }

  private func list(_ server: Server) throws {
    let wanted = server.configuration
    let json = try nbdSecure(["list", "--json"] + server.endpoint)
    #expect(json.status == 0, "\(json)\n\(server.log)")
    #expect(json.stderr.isEmpty)
    let exports = try JSONDecoder().decode([Listed].self, from: Data(json.stdout.utf8))
    #expect(exports == [Listed(name: wanted.export, description: wanted.exportDescription)])

    let text = try nbdSecure(["list"] + server.endpoint)
    #expect(text.status == 0, "\(text)\n\(server.log)")
    let description = wanted.exportDescription.map { "\t\($0)" } ?? ""
    #expect(text.stdout == "\(wanted.export)\(description)\n")
  }

  private func info(_ server: Server) throws {
    let wanted = server.configuration
    let json = try nbdSecure(["info", "--json"] + server.endpoint)
    #expect(json.status == 0, "\(json)\n\(server.log)")
    #expect(json.stderr.isEmpty)
    let found = try JSONDecoder().decode(Information.self, from: Data(json.stdout.utf8))
    #expect(found.export == wanted.export)
    let size = wanted.program.sizeInInformation(wanted.size)
    #expect(found.size == size)
    #expect(found.readOnly == wanted.readOnly)
    let tls = try #require(found.tls)
    if let version = wanted.tls.version {
      #expect(tls.version.contains(version.rawValue), "\(tls)")
    }
    switch wanted.tls.authentication {
    case nil: Issue.record("a cell without TLS")
    case .psk:
      #expect(tls.authentication == "psk")
      #expect(tls.pskIdentity == "alice")
    case .x509, .x509WithClientCertificate:
      #expect(tls.authentication == "x509")
      #expect(tls.verifiedName == server.hostname)
      #expect(tls.clientCertificate == (wanted.tls.authentication == .x509WithClientCertificate))
      // The pin that is shown is the pin that is accepted, and no other is.
      let pin = try #require(tls.pin)
      let pinned = try nbdSecure(["info", "--tls-pin", pin] + server.endpoint)
      #expect(pinned.status == 0, "\(pinned)")
      let wrong = String(pin.dropLast()) + (pin.hasSuffix("0") ? "1" : "0")
      let refused = try nbdSecure(["info", "--tls-pin", wrong] + server.endpoint)
      #expect(refused.deviations(status: 77, saying: ["pin"]) == [])
    }

    let text = try nbdSecure(["info"] + server.endpoint)
    #expect(text.status == 0, "\(text)\n\(server.log)")
    #expect(text.stdout.contains("\(size)"))
  }
}

/// An export as `list --json` prints it.
struct Listed: Codable, Equatable {
  var name: String
  var description: String?
}

/// What `info --json` prints, as far as the tests look.
struct Information: Codable {
  struct TLS: Codable {
    var version: String
    var cipher: String
    var authentication: String
    var verifiedName: String?
    var pskIdentity: String?
    var pin: String?
    var clientCertificate: Bool
  }
  var export: String
  var size: UInt64
  var readOnly: Bool
  var tls: TLS?
}
