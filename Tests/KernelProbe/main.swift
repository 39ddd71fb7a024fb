// SPDX-License-Identifier: Apache-2.0
// Drives NBDKernel from scenario scripts in a guest, without the rest of the program.
import Foundation
import LinuxIO
import NBDKernel

/// What the command line holds besides the verb: words, and options with a value.
struct Arguments {
  var words: [String] = []
  var options: [String: String] = [:]

  init(_ arguments: [String]) {
    var rest = arguments[...]
    while let word = rest.popFirst() {
      if word.hasPrefix("--") {
        options[String(word.dropFirst(2))] = rest.popFirst() ?? ""
      } else {
        words.append(word)
      }
    }
  }

  func number(_ name: String, _ missing: UInt64) -> UInt64 {
    options[name].flatMap { UInt64($0) } ?? missing
  }

  var device: DeviceIndex? { options["device"].flatMap { DeviceIndex($0) } }
}

func fail(_ text: String, status: Int32 = 1) -> Never {
  FileHandle.standardError.write(Data("kernel-probe: \(text)\n".utf8))
  exit(status)
}

func say(_ text: String) {
  print(text)
  fflush(nil)
}

/// A server in the transmission phase.
struct ReadyServer: ~Copyable {
  let socket: Descriptor
  let size: UInt64
  let flags: UInt16
}

/// Asks a fixed newstyle server for its default export in the shortest way, NBD_OPT_EXPORT_NAME.
func connectServer(_ path: String) throws -> ReadyServer {
  let deadline = Deadline.after(seconds: 60)
  let socket = try connectStream(to: .unix(path: path), deadline: deadline)
  let greeting = try receive(18, from: socket.raw, until: deadline)
  guard greeting.count == 18 else { fail("short greeting") }
  // Fixed newstyle and no zeroes; then the option with an empty name.
  let answer = [0, 0, 0, 3] + Array("IHAVEOPT".utf8) + [0, 0, 0, 1, 0, 0, 0, 0]
  try sendAll(answer, to: socket.raw, until: deadline)
  let export = try receive(10, from: socket.raw, until: deadline)
  guard export.count == 10 else { fail("no export") }
  let size = export.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
  return ReadyServer(
    socket: socket, size: size, flags: UInt16(export[8]) << 8 | UInt16(export[9]))
}

func parameters(_ arguments: Arguments, size: UInt64, flags: UInt16) -> DeviceParameters {
  DeviceParameters(
    size: arguments.number("size", size), blockSize: UInt32(arguments.number("block-size", 512)),
    flags: flags | (arguments.options["read-only"] == "yes" ? 2 : 0),
    timeoutSeconds: arguments.number("timeout", 5),
    deadConnTimeoutSeconds: arguments.number("dead", 0),
    backendIdentifier: arguments.options["backend"] ?? "")
}

func connect(_ arguments: Arguments) throws {
  let server = try connectServer(arguments.words[0])
  let device = try NBDNetlink().connect(
    device: arguments.device, parameters(arguments, size: server.size, flags: server.flags),
    sockets: [server.socket.raw])
  try Sysfs().setLargestRequest(device, kibibytes: 1024)
  try BlockDevice.scanPartitions(device)
  say(device.path)
}

func reconfigure(_ arguments: Arguments) throws {
  let server = try connectServer(arguments.words[0])
  guard let device = arguments.device else { fail("which device?") }
  try NBDNetlink().reconfigure(
    device: device, parameters(arguments, size: server.size, flags: server.flags),
    sockets: [server.socket.raw])
}

func disconnect(_ arguments: Arguments) throws {
  guard let device = arguments.device else { fail("which device?") }
  let deadline = Deadline.after(seconds: 60)
  try NBDNetlink().disconnect(device: device, until: deadline)
  try Sysfs().waitUntilGone(device, until: deadline)
}

func serveByIoctls(_ arguments: Arguments) throws {
  let server = try connectServer(arguments.words[0])
  guard let device = arguments.device else { fail("which device?") }
  let binding = try IoctlBinding(device: device)
  try binding.configure(
    parameters(arguments, size: server.size, flags: server.flags), sockets: [server.socket.raw])
  let queue = try SignalQueue([SIGTERM])
  let raw = queue.descriptor.raw
  try spawnDetachedThread(name: "signals") {
    _ = try? wait(raw, for: .read, until: .never)
    try? binding.disconnect()
  }
  try binding.run()
  say("ended")
  _ = queue.descriptor.raw
}

func watch(_ arguments: Arguments) throws {
  let events = try NBDNetlink().linkEvents()
  say("watching")
  let deadline = Deadline.after(seconds: Double(arguments.number("seconds", 10)))
  while !deadline.hasPassed {
    guard (try? wait(events.descriptor, for: .read, until: deadline)) != nil else { return }
    for event in try events.next() { say("\(event)") }
  }
}

func show(_ arguments: Arguments) throws {
  let sysfs = Sysfs()
  let connected = try NBDNetlink().status()
  for device in sysfs.devices() where sysfs.isConnected(device) {
    let use = DeviceUse().holdersOrClaim(of: device, ignoring: [getpid()])
    say(
      "\(device) connected=\(connected[device] ?? false) size=\(sysfs.size(device) ?? 0)"
        + " ro=\(sysfs.isReadOnly(device)) backend=\(sysfs.backend(device) ?? "-")"
        + " request=\(sysfs.queueLimit(device, "max_sectors_kb") ?? 0)"
        + " written=\(sysfs.statistics(device)?.bytesWritten ?? 0)"
        + " partitions=\(sysfs.partitions(device).keys.sorted().joined(separator: ","))"
        + " use=\(use.map(\.description).joined(separator: "; "))")
  }
}

func support() {
  say("driver \(KernelSupport.hasDriver) netlink \(KernelSupport.netlink)")
  say("connect \(KernelSupport.mayConnect) flush \(KernelSupport.mayFlush)")
  say("block size \(KernelSupport.maximumBlockSize)")
  for (version, cipher, support) in KernelSupport.kernelTLS() {
    say("ktls \(version) \(cipher) \(support)")
  }
}

/// Keys on both ends of a connection, then data both ways.
func exchangeOverKernelTLS() throws {
  let deadline = Deadline.after(seconds: 60)
  let listener = try listenTCP(at: .ipv4(address: [127, 0, 0, 1], port: 0))
  for version in KernelTLS.Version.allCases {
    for cipher in KernelTLS.Cipher.allCases {
      let one = try connectStream(to: .local(of: listener.raw), deadline: deadline)
      try wait(listener, for: .read, until: deadline)
      guard let other = try acceptConnection(listener.raw) else { fail("no connection") }
      let layout = cipher.layout
      func keys(_ seed: UInt8) -> [UInt8] {
        func part(_ count: Int) -> [UInt8] { [UInt8](repeating: seed, count: count) }
        return KernelTLS.cryptoInfo(
          version, cipher, iv: part(layout.iv), key: part(layout.key), salt: part(layout.salt),
          sequence: [UInt8](repeating: 0, count: layout.sequence)) ?? []
      }
      try KernelTLS.install(on: one.raw, transmit: keys(1), receive: keys(2))
      try KernelTLS.install(on: other.raw, transmit: keys(2), receive: keys(1))
      let message = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
      for (from, to) in [(one.raw, other.raw), (other.raw, one.raw)] {
        try sendAll(message, to: from, until: deadline)
        let got = try receive(message.count, from: to, until: deadline)
        guard got == message else { fail("\(version) \(cipher): the data changed") }
      }
      say("exchanged \(version) \(cipher)")
    }
  }
}

/// A connection is there while somebody has it, and not afterwards.
func followConnection() throws {
  let deadline = Deadline.after(seconds: 60)
  let listener = try listenTCP(at: .ipv4(address: [127, 0, 0, 1], port: 0))
  let connection: TCPConnection
  do {
    let one = try connectStream(to: .local(of: listener.raw), deadline: deadline)
    try wait(listener, for: .read, until: deadline)
    guard let other = try acceptConnection(listener.raw) else { fail("no connection") }
    connection = try TCPConnection(of: one.raw)
    say("\(try connection.state())")
    let stranger = TCPConnection(
      local: connection.local, peer: connection.peer, inode: connection.inode + 1)
    say("\(try stranger.state())")
    shutdownSocket(other.raw)
    sleep(seconds: 0.2)
    say("\(try connection.state())")
  }
  say("\(try connection.state())")
}

let verbs: [String: (Arguments) throws -> Void] = [
  "connect": connect, "reconfigure": reconfigure, "disconnect": disconnect,
  "ioctl": serveByIoctls, "watch": watch, "show": show, "support": { _ in support() },
  "ktls": { _ in try exchangeOverKernelTLS() }, "connection": { _ in try followConnection() },
]

let given = CommandLine.arguments.dropFirst()
guard let name = given.first, let verb = verbs[name] else {
  fail("one of \(verbs.keys.sorted().joined(separator: ", "))", status: 64)
}
do {
  try verb(Arguments(Array(given.dropFirst())))
} catch let error as KernelError {
  fail("\(error.kind): \(error.message)", status: error.kind == .busy ? 71 : 1)
} catch {
  fail("\(error)")
}
