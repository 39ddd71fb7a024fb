// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// The socket of a proxy, and the life of the process behind it.
@Suite(.serialized) struct ProxySocketTests {
  private let server: Server

  init() throws { server = try Server(ServerConfiguration(.nbdkit)) }

  private func mode(_ path: String) throws -> mode_t {
    var facts = stat()
    guard lstat(path, &facts) == 0 else { throw SystemError("lstat \(path)") }
    return facts.st_mode & 0o7777
  }

  @Test func modeIsAsAskedWhateverTheUmask() throws {
    let closed = try ProxyProcess(server.endpoint)
    #expect(try mode(closed.socket) == 0o600)
    let open = try ProxyProcess(server.endpoint + ["--socket-mode", "0666"])
    #expect(try mode(open.socket) == 0o666)
  }

  @Test func printsThePathAndEndsInOrder() throws {
    let directory = try TemporaryDirectory()
    let socket = directory.file("s")
    let script = """
      "$0" proxy --listen "$1" "${@:2}" >"$1.out" 2>"$1.err" & pid=$!
      for _ in {1..1000}; do [ -s "$1.out" ] && break; sleep 0.1; done
      [ -S "$1" ] || exit 99
      kill -TERM $pid; wait $pid
      """
    let seen = try run("bash", ["-c", script, nbdSecurePath, socket] + server.endpoint)
    #expect(seen.status == 0, "\(seen)")
    #expect(try String(contentsOfFile: socket + ".out", encoding: .utf8) == "\(socket)\n")
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == [
        "s.err", "s.out",
      ])
  }

  @Test func clientsSeeTheEnd() throws {
    let proxy = try ProxyProcess(server.endpoint)
    let client = try RawClient(proxy.socket)
    #expect(try client.write(0, [1]) == 0)
    proxy.process.signal(SIGINT)
    #expect(throws: SystemError.self) { try client.receive(1) }
    #expect(proxy.process.wait(timeout: 5) == .exited(0))
  }

  @Test func onlyTheSocketOfADeadProxyIsReplaced() throws {
    let proxy = try ProxyProcess(server.endpoint)
    let live = try nbdSecure(["proxy", "--listen", proxy.socket] + server.endpoint)
    #expect(live.deviations(status: 1, saying: [proxy.socket, "in use"]) == [])
    #expect(try run("nbdinfo", ["--size", proxy.uri]).status == 0)

    let note = proxy.file("note")
    try "precious".write(toFile: note, atomically: true, encoding: .utf8)
    let file = try nbdSecure(["proxy", "--listen", note] + server.endpoint)
    #expect(file.deviations(status: 1, saying: [note, "not a socket"]) == [])
    #expect(try String(contentsOfFile: note, encoding: .utf8) == "precious")

    proxy.process.signal(SIGKILL)
    _ = proxy.process.wait(timeout: 5)
    #expect(access(proxy.socket, F_OK) == 0)
    let again = try ChildProcess(
      nbdSecurePath, ["proxy", "--listen", proxy.socket] + server.endpoint,
      log: proxy.file("again"))
    #expect(eventually(within: 10) { again.log.contains(proxy.socket + "\n") }, "\(again.log)")
    #expect(try run("nbdinfo", ["--size", proxy.uri]).status == 0)
  }

  @Test func whatIsWrongWithTheServerShowsFirst() throws {
    let directory = try TemporaryDirectory()
    let socket = directory.file("s")
    let other = try PKI.shared.get().otherCA
    let stranger = try nbdSecure(
      ["proxy", "--listen", socket, "--tls-creds", other] + server.address)
    #expect(stranger.deviations(status: 77, saying: ["localhost"]) == [])
    #expect(access(socket, F_OK) != 0)
    let long = try nbdSecure(
      ["proxy", "--listen", "/tmp/" + String(repeating: "x", count: 103)] + server.endpoint)
    #expect(long.deviations(status: 64, saying: ["107"]) == [])
    let mode = try nbdSecure(
      ["proxy", "--listen", socket, "--socket-mode", "rw"] + server.endpoint)
    #expect(mode.deviations(status: 64, saying: ["--socket-mode"]) == [])
  }

  @Test func readinessIsTold() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("notify")
    let listener = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    _ = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    let proxy = try ProxyProcess(server.endpoint, environment: ["NOTIFY_SOCKET": path])
    var watched = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    #expect(poll(&watched, 1, 5000 * Int32(patience)) == 1)
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = recv(listener, &bytes, bytes.count, 0)
    #expect(String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).contains("READY=1\n"))
    _ = proxy
  }
}
