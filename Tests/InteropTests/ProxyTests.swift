// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Full reads and writes through the transmission phase, with other people's clients.
@Suite(.serialized) struct ProxyDataTests {
  @Test(arguments: serverMatrix()) func everyByteGoesBothWays(_ wanted: ServerConfiguration) throws
  {
    let server = try Server(wanted)
    let proxy = try ProxyProcess(server.endpoint)
    let data = try randomData(wanted.size)
    let source = proxy.file("source")
    try data.write(to: URL(fileURLWithPath: source))
    // nbd-server offers FLUSH only where its configuration says so.
    let flush = wanted.program == .nbdServer ? [] : ["--flush"]
    let written = try run("nbdcopy", flush + [source, proxy.uri])
    #expect(written.status == 0, "\(written)\n\(proxy.log)")
    #expect(try contents(of: server.disk) == data)
    let target = proxy.file("target")
    let read = try run("nbdcopy", [proxy.uri, target])
    #expect(read.status == 0, "\(read)\n\(proxy.log)")
    #expect(try contents(of: target) == data)
  }

  @Test(arguments: ServerProgram.allCases)
  func namedClientsWork(_ program: ServerProgram) throws {
    let server = try Server(
      ServerConfiguration(
        program, tls: .required(program.authentications[0], nil), export: "disk-1"))
    let proxy = try ProxyProcess(server.endpoint)
    let io = try run(
      "qemu-io",
      [
        "-f", "raw", proxy.uri, "-c", "write -P 7 1M 3M", "-c", "write -z 2M 1M", "-c", "flush",
        "-c", "read -P 7 1M 1M", "-c", "read -P 0 2M 1M", "-c", "read -P 7 3M 1M",
      ])
    #expect(io.status == 0 && !io.stdout.contains("fail"), "\(io)\n\(proxy.log)")

    let info = try run("nbdinfo", ["--json", proxy.uri])
    #expect(info.status == 0, "\(info)")
    #expect(info.stdout.contains("\"export-size\": \(server.configuration.size)"))
    let list = try run("nbdinfo", ["--list", "nbd+unix:///?socket=\(proxy.socket)"])
    #expect(list.stdout.contains("export=\"disk-1\""), "\(list)")

    let names = try run("nbd-client", ["-l", "-unix", proxy.socket])
    #expect(names.status == 0 && names.stdout.contains("disk-1"), "\(names)")

    let fio = try run(
      "fio",
      [
        "--name=mixed", "--ioengine=nbd", "--uri=\(proxy.uri)", "--rw=randrw", "--bsrange=512-64k",
        "--iodepth=16", "--size=8M", "--verify=crc32c", "--minimal",
        "--aux-path=\(proxy.file(""))",
      ], directory: proxy.file(""))
    #expect(fio.status == 0, "\(fio)\n\(proxy.log)")
  }

  /// Several clients, each with its part of the disk, at once.
  @Test func clientsShareAServerThatAllowsIt() throws {
    let server = try Server(ServerConfiguration(.nbdkit))
    let proxy = try ProxyProcess(server.endpoint)
    let clients = try (0..<8).map { _ in try RawClient(proxy.socket) }
    for (number, client) in clients.enumerated() {
      #expect(
        try client.write(number << 20, [UInt8](repeating: UInt8(number + 1), count: 1 << 20)) == 0)
    }
    // A flush of one is a flush of all, and all see what all wrote.
    #expect(try clients[0].call(.flush).error == 0)
    for (number, client) in clients.enumerated() {
      let place = (number + 3) % 8
      let seen = try client.call(.read, offset: place << 20, length: 1 << 20)
      #expect(seen.error == 0)
      #expect(seen.data.allSatisfy { $0 == UInt8(place + 1) })
    }
  }

  @Test func secondClientOfAnExclusiveServerIsRefusedWithTheReason() throws {
    let server = try RestartableServer(
      filters: ["multi-conn"], parameters: ["multi-conn-mode=disable"])
    let proxy = try ProxyProcess(server.endpoint)
    let first = try RawClient(proxy.socket)
    #expect(try first.write(0, [1, 2, 3, 4]) == 0)
    let second = try run("qemu-io", ["-f", "raw", "-r", proxy.uri, "-c", "read 0 512"])
    #expect(second.status != 0)
    #expect(second.stderr.contains("does not allow several connections"), "\(second)")
    // Asking is allowed.
    #expect(try run("nbdinfo", ["--list", proxy.uri]).status == 0)
    try first.disconnect()
    let third = try RawClient(proxy.socket)
    #expect(try third.call(.read, offset: 0, length: 4).data == [1, 2, 3, 4])
  }

  /// What clients are told is the longest request passes whole, and what is longer is refused: ours,
  /// and a server's own.
  @Test(arguments: [nil, "64K"])
  func requestsUpToTheMaximumPass(_ serverMaximum: String?) throws {
    let server = try RestartableServer(
      size: 32 << 20, filters: serverMaximum == nil ? [] : ["blocksize-policy"],
      parameters: serverMaximum.map {
        [
          "blocksize-minimum=512", "blocksize-preferred=4K", "blocksize-maximum=\($0)",
          "blocksize-error-policy=error",
        ]
      } ?? [])
    let proxy = try ProxyProcess(server.endpoint)
    let told = try run("nbdinfo", ["--json", proxy.uri]).stdout
    let maximum = try #require(
      told.firstMatch(of: /"block_size_maximum": ([0-9]+)/).flatMap { Int($0.1) }, "\(told)")
    #expect(serverMaximum == nil ? maximum >= 1 << 20 : maximum == 64 << 10)
    let client = try RawClient(proxy.socket)
    let data = try [UInt8](randomData(maximum + 512))
    for length in [512, maximum - 512, maximum] {
      let part = Array(data[..<length])
      #expect(try client.write(512, part) == 0)
      let seen = try client.call(.read, offset: 512, length: length)
      #expect(seen.error == 0 && seen.data == part, "\(length) bytes")
    }
    #expect(try client.write(512, data) == 22)
    #expect(try client.call(.read, offset: 512, length: maximum + 512).error == 22)
    #expect(try client.call(.read, offset: 512, length: 512).data == Array(data[..<512]))
    #expect(try client.call(.flush).error == 0)
    let found = try contents(of: server.disk)
    #expect(found[512..<(512 + maximum)] == Data(data[..<maximum]))
  }
}

/// What goes wrong around a proxy is a pause, or an error, and never a lie.
@Suite(.serialized) struct ProxyTroubleTests {
  @Test func restartUnderLoadIsAPause() throws {
    let server = try RestartableServer(size: 32 << 20)
    let proxy = try ProxyProcess(server.endpoint)
    let load = try ChildProcess(
      "fio",
      [
        "--name=load", "--ioengine=nbd", "--uri=\(proxy.uri)", "--rw=randwrite", "--bs=16k",
        "--iodepth=16", "--size=32M", "--io_size=512M", "--verify=crc32c", "--do_verify=1",
        "--aux-path=\(proxy.file(""))",
      ], directory: proxy.file(""), log: proxy.file("fio.log"))
    // Sparse before the load writes.
    #expect(eventually(within: 20) { allocated(server.disk) > 0 })
    for _ in 0..<2 {
      Thread.sleep(forTimeInterval: 0.4)
      server.kill()
      Thread.sleep(forTimeInterval: 0.3)
      try server.start()
    }
    #expect(load.wait(timeout: 60) == .exited(0), "\(load.log)\n\(proxy.log)")
    #expect(proxy.log.contains("reconnected to localhost"), "\(proxy.log)")
  }

  /// A server with a cache of its own dies with it; a client that came later flushes, and what
  /// the one before had written is there. With and without several connections.
  @Test(arguments: ["emulate", "disable"])
  func flushSpeaksForClientsThatLeft(_ mode: String) throws {
    let server = try RestartableServer(
      filters: ["multi-conn", "cache"], parameters: ["multi-conn-mode=\(mode)"])
    let proxy = try ProxyProcess(server.endpoint)
    let data = try randomData(1 << 20)
    do {
      let first = try RawClient(proxy.socket)
      #expect(try first.write(0, [UInt8](data)) == 0)
      try first.disconnect()
    }
    // Another one leaves in the middle of a request.
    do {
      let rude = try RawClient(proxy.socket)
      #expect(try rude.write(1 << 20, [UInt8](data)) == 0)
      try rude.send(RawClient.header(.write, offset: 4 << 20, length: 1 << 20, cookie: 9))
      try rude.send([UInt8](repeating: 1, count: 1000))
    }
    server.kill()
    #expect(try contents(of: server.disk).prefix(data.count) != data)
    try server.start()
    let last = try RawClient(proxy.socket)
    #expect(try last.call(.flush).error == 0)
    let found = try contents(of: server.disk)
    #expect(found.prefix(data.count) == data, "\(proxy.log)")
    #expect(found.dropFirst(data.count).prefix(data.count) == data, "\(proxy.log)")
  }

  @Test func clientsThatDieDisturbNobody() throws {
    let server = try RestartableServer()
    let proxy = try ProxyProcess(server.endpoint)
    let steady = try RawClient(proxy.socket)
    for round in 0..<20 {
      let rude = try RawClient(proxy.socket)
      for cookie in 0..<8 {
        try rude.send(
          RawClient.header(.read, offset: 0, length: 1 << 20, cookie: UInt64(cookie)))
      }
      try rude.send(RawClient.header(.write, offset: 8 << 20, length: 1 << 20, cookie: 9))
      try rude.send([UInt8](repeating: 1, count: round * 1000))
      #expect(try steady.write(round * 4096, [UInt8](repeating: UInt8(round), count: 4096)) == 0)
    }
    for round in 0..<20 {
      let seen = try steady.call(.read, offset: round * 4096, length: 4096)
      #expect(seen.data.allSatisfy { $0 == UInt8(round) })
    }
    #expect(!proxy.log.contains("lost"), "\(proxy.log)")
  }

  /// A client that takes no answers and a server that gives none cost memory up to a bound, and
  /// nothing is lost of what was queued.
  @Test func slowClientsAndServersCostBoundedMemory() throws {
    let server = try RestartableServer(
      size: 160 << 20, filters: ["delay"], parameters: ["delay-write=12"])
    let mebibyte = 1 << 20
    let data = try randomData(32 << 20)
    let disk = try FileHandle(forWritingTo: URL(fileURLWithPath: server.disk))
    try disk.write(contentsOf: data)
    try disk.close()
    let proxy = try ProxyProcess(server.endpoint)
    let reader = try RawClient(proxy.socket)
    for number in 0..<100 {
      try reader.send(
        RawClient.header(
          .read, offset: (number % 32) << 20, length: mebibyte, cookie: UInt64(number)))
    }
    // Writes until no more of them is taken, long before the first is answered.
    let writer = try RawClient(proxy.socket)
    var queued = 0
    var request: [UInt8] = []
    var number = 0
    // As often as that in a row nothing was taken, and enough was before.
    var refusals = 0
    while refusals < 100 || queued < 8 << 20, refusals < 5000, number < 128 {
      if request.isEmpty {
        request =
          RawClient.header(
            .write, offset: (32 + number) << 20, length: mebibyte, cookie: UInt64(number))
          + data[((number % 32) << 20)..<((number % 32 + 1) << 20)]
        number += 1
      }
      let sent = writer.sendWhatFits(request)
      queued += sent
      request.removeFirst(sent)
      refusals = sent > 0 ? 0 : refusals + 1
      if sent == 0 { Thread.sleep(forTimeInterval: 0.02) }
    }
    #expect(proxy.process.isRunning, "\(proxy.log)")
    #expect(queued > 8 << 20 && queued < 48 << 20, "\(queued)")
    // Two rings, and what the program is.
    #expect(proxy.peakMemory > 0 && proxy.peakMemory < 120, "\(proxy.peakMemory) MiB")
    try writer.send(request)
    for _ in 0..<number { #expect(try writer.receive(16)[4..<8] == [0, 0, 0, 0]) }
    #expect(try writer.call(.flush).error == 0)
    for _ in 0..<100 {
      let reply = try reader.receive(16)
      let place = Int(Wire.integer(reply[8..<16])) % 32
      #expect(reply[4..<8] == [0, 0, 0, 0])
      let part = Data(try reader.receive(mebibyte))
      #expect(data[(place << 20)..<((place + 1) << 20)] == part, "read \(place)")
    }
    let found = try contents(of: server.disk)
    for number in 0..<number {
      let place = number % 32
      #expect(
        found[((32 + number) << 20)..<((33 + number) << 20)]
          == data[(place << 20)..<((place + 1) << 20)], "write \(number)")
    }
    #expect(!proxy.log.contains("lost"), "\(proxy.log)")
  }

  @Test func withoutReconnectionItEndsWhenTheServerDoes() throws {
    let server = try RestartableServer()
    let proxy = try ProxyProcess(try server.endpoint + ["--reconnect-timeout", "0"])
    var client: RawClient? = try RawClient(proxy.socket)
    server.kill()
    #expect(try client?.call(.read, offset: 0, length: 512).error == 5)
    client = nil
    #expect(proxy.process.wait(timeout: 5) == .exited(74), "\(proxy.log)")
    #expect(access(proxy.socket, F_OK) != 0)
  }
}
