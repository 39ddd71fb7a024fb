// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import NBDKernel
import NBDProtocol
import Synchronization
import SystemPackage

/// Attaches an export and stays behind its device: what a supervisor does from start to end.
package struct Attach {
  let request: AttachRequest
  let log: EventLog
  let warn: @Sendable (String) -> Void
  let trace: @Sendable (String) -> Void
  /// Readable when the one who waits for the device is gone; −1 where nobody can be.
  let lifeline: Int32
  /// Whether a living supervisor of the same attachment gives way.
  let takesOver: Bool
  var directory = StateDirectory.standard

  package init(
    _ request: AttachRequest, log: EventLog, lifeline: Int32 = -1, takesOver: Bool = false,
    warn: @escaping @Sendable (String) -> Void, trace: @escaping @Sendable (String) -> Void
  ) {
    self.request = request
    self.log = log
    // What is said at every reconnection is news only at the first.
    let news = Novelties(warn)
    self.warn = { line in news.say(line) }
    self.trace = trace
    self.lifeline = lifeline
    self.takesOver = takesOver
  }

  /// What must be the same for two attachments to be one.
  var identifier: String { backendIdentifier(of: request.connection.endpoint) }

  /// Attaches, tells `ready`, and serves the device until its end.
  ///
  /// - Throws: `NBDSecureError`; nothing is left behind then.
  package func run(ready: @escaping (AttachOutcome) -> Void) throws(NBDSecureError) {
    guard ThisProcess.effectiveUser == 0 else {
      throw NBDSecureError(
        .kernel, "attaching a block device needs root",
        hint: "run it as root, or use nbd-secure proxy, which does not need it")
    }
    // Told when nothing refuses any more: an error is not to drown in warnings.
    var lacks: [String] = []
    Privileges.protectDataPath { lacks.append($0) }
    try directory.prepare()
    try refuseSecondDevice()
    guard let lock = try takesOver ? takeOver() : acquireLock() else {
      return ready(try existing())
    }
    defer { directory.removeLock(of: identifier, lock) }
    let lockPath = directory.lock(of: identifier)
    let guarding = try Lifeline(lifeline) { _ = try? removeFile(lockPath) }
    Presence(directory).removeStale(identifier)
    let bound = try Binder(request: request, identifier: identifier)
    let adopted = try bound.deviceToAdopt()

    var connector = Connector(request: request.connection, trace: trace, warn: warn)
    let before = adopted.flatMap { directory.read($0.name) }
    if let before, before.identifier == identifier {
      try request.checkOptions(before)
      // Kernel TLS without a process: as long as its connections live, it is attached.
      if before.link == .unsupervised, before.hasLiveSockets {
        return ready(AttachOutcome(device: "/dev/\(before.device)", kind: .existing))
      }
    }
    // Adopting a device is reconnecting it: its first server's key still counts, and what it can do.
    connector.use = ConnectionUse(request)
    connector.use.needsToWrite = adopted.map { !Sysfs().isReadOnly($0) } ?? false
    if let before, before.identifier == identifier {
      connector.use.bind(peerKey: before.tls?.pin, identity: before.tls?.pskIdentity)
    }
    let goal = Goal.attach(try request.connection.endpoint.exportName())
    let connections = try openConnections(connector, goal: goal, count: request.connections)
    guard let export = connections[0].export else {
      throw NBDSecureError(.protocolViolation, "\(request.connection.endpoint): no export")
    }
    connector.use.bind(to: connections[0])
    let plan = try DevicePlan(
      export: export, request: request, readOnly: connections[0].policy.readOnly,
      connections: connections.count, warn: warn)
    if let adopted {
      let recorded = before.flatMap { $0.identifier == identifier ? $0.exported : nil }
      try Adoption(device: adopted, recorded: recorded).check(export, plan: plan)
    }
    let path = try DataPathChoice(
      for: connections[0], request: request, binding: bound.kind, warn: warn)
    connector.use.settle(
      writable: !plan.flags.contains(.readOnly), dataPath: path == .relay ? .relay : .ktls)
    lacks.forEach(warn)
    warnOfTwin(connections[0])
    guard guarding.commit() else { throw Lifeline.interrupted }
    let parts = Parts(
      connector: connector, connections: connections, export: export, plan: plan, binder: bound,
      adopted: adopted, path: path,
      liveSockets: before.map { $0.hasLiveSockets ? $0.sockets : [] } ?? [])
    switch path {
    case .relay: try serveRelay(parts, lifeline: guarding, ready: ready)
    case .kernelTLS: try serveKernelTLS(parts, lifeline: guarding, ready: ready)
    }
  }

  private struct Parts {
    let connector: Connector
    let connections: [Connection]
    let export: Export
    let plan: DevicePlan
    let binder: Binder
    let adopted: DeviceIndex?
    let path: DataPathChoice
    /// The kernel TLS connections of the adopted device, where they live.
    let liveSockets: [RecordedSocket]
  }

  /// Binds the device to a relay and serves it.
  private func serveRelay(
    _ parts: Parts, lifeline: Lifeline, ready: @escaping (AttachOutcome) -> Void
  ) throws(NBDSecureError) {
    let signals = try system("take signals") { () throws(Errno) in
      try SignalQueue([SIGTERM, SIGINT, SIGHUP])
    }
    let (lanes, events, kernelEnds) = try makeLanes(parts)
    let binding: any DeviceBinding
    do {
      defer { for end in kernelEnds { _ = Descriptor(owning: end) } }
      binding = try parts.binder.bind(
        plan: parts.plan, path: parts.path, sockets: kernelEnds, adopting: parts.adopted,
        warn: warn)
    }
    let store = StateStore(state(of: parts, device: binding.device), in: directory, log: log)
    let supervisor = try Supervisor(
      request: request, connector: parts.connector, export: parts.export, plan: parts.plan,
      binding: binding, lanes: lanes, laneEvents: events, store: store, signals: signals, log: log)
    store.save()
    defer { store.remove() }
    supervisor.start()
    try watch(parts, binding.device, lifeline, ready, during: supervisor.run)
  }

  /// Gives the connections to the kernel, and watches them, unless there is to be no reconnection.
  private func serveKernelTLS(
    _ parts: Parts, lifeline: Lifeline, ready: @escaping (AttachOutcome) -> Void
  ) throws(NBDSecureError) {
    let signals = try system("take signals") { () throws(Errno) in
      try SignalQueue([SIGTERM, SIGINT, SIGHUP])
    }
    // A device that was taken over may still have its connections: then they stay, and the new
    // ones have only shown that the server is who it was.
    var sockets: [Int32] = []
    if !parts.liveSockets.isEmpty {
      for connection in parts.connections { connection.part() }
    } else {
      sockets = try KernelTLSHandover.sockets(of: parts.connections)
    }
    let binding: any DeviceBinding
    do {
      binding = try parts.binder.bind(
        plan: parts.plan, path: parts.path, sockets: sockets, adopting: parts.adopted,
        warn: warn)
    } catch {
      for socket in sockets { _ = Descriptor(owning: socket) }
      throw error
    }
    guard let device = binding as? NetlinkDevice else {
      throw NBDSecureError(.kernel, "kernel TLS needs the driver's netlink interface")
    }
    let store = StateStore(state(of: parts, device: binding.device), in: directory, log: log)
    store.note(sockets: sockets)
    if request.reconnectTimeout == 0 {
      for socket in sockets { _ = Descriptor(owning: socket) }
      return try leaveUnsupervised(parts, device, store, lifeline, ready)
    }
    store.save()
    defer { store.remove() }
    let supervisor = try KernelTLSSupervisor(
      request: request, connector: parts.connector, export: parts.export, binding: device,
      isAdopted: parts.adopted != nil, sockets: sockets, store: store, signals: signals, log: log)
    try watch(parts, binding.device, lifeline, ready, during: supervisor.run)
  }

  /// No process stays: what it knew stays in the state file.
  private func leaveUnsupervised(
    _ parts: Parts, _ binding: NetlinkDevice, _ store: StateStore, _ lifeline: Lifeline,
    _ ready: @escaping (AttachOutcome) -> Void
  ) throws(NBDSecureError) {
    store.becomeUnsupervised()
    let opening = try DeviceOpening(
      binding.device, plan: parts.plan, isNew: parts.adopted == nil, name: request.name)
    let deadline = Deadline.after(seconds: request.ioTimeout)
    while !opening.isDone, !lifeline.isCut, !deadline.hasPassed {
      sleep(seconds: 0.005, until: deadline)
    }
    guard !lifeline.isCut else {
      try? binding.disconnect()
      store.remove()
      throw Lifeline.interrupted
    }
    lifeline.release()
    announce(binding.device, isNew: parts.adopted == nil, ready)
  }

  private func announce(
    _ device: DeviceIndex, isNew: Bool, _ ready: (AttachOutcome) -> Void
  ) {
    ready(AttachOutcome(device: device.path, kind: isNew ? .new : .adopted))
    // In the background too there is a log from now on.
    log.write(
      .info,
      "\(device.path): \(isNew ? "attached" : "adopted") \(request.connection.endpoint)")
  }

  /// Runs a supervisor, tells `ready` when the device answers, and undoes it when nobody waits.
  private func watch(
    _ parts: Parts, _ device: DeviceIndex, _ lifeline: Lifeline,
    _ ready: @escaping (AttachOutcome) -> Void,
    during run: (Int32, Int32, () -> Supervisor.Round) -> Supervisor.Ending
  ) throws(NBDSecureError) {
    let opening = try DeviceOpening(
      device, plan: parts.plan, isNew: parts.adopted == nil, name: request.name)
    var told = false
    let ending = run(opening.done.descriptor.raw, lifeline.descriptor) {
      if told { return .goOn }
      if lifeline.isCut { return .detach }
      guard opening.isDone else { return .goOn }
      told = true
      lifeline.release()
      announce(device, isNew: parts.adopted == nil, ready)
      return .goOn
    }
    if case .deviceLost(let why) = ending {
      throw NBDSecureError(.io, "\(device.path): \(why)")
    }
    guard told else { throw Lifeline.interrupted }
  }

  /// A lane for each connection, and the kernel's ends of their socket pairs.
  private func makeLanes(
    _ parts: Parts
  ) throws(NBDSecureError) -> ([Lane], LaneEvents, [Int32]) {
    try system("set up the relay") { () throws(Errno) in
      let events = try LaneEvents()
      let clock = RelayClock()
      let settings = Relay.Settings(
        exportSize: parts.export.size, flags: parts.plan.flags,
        maximumRequest: parts.plan.maximumRequest,
        ioTimeout: UInt64(request.ioTimeout * 1_000_000_000),
        renewsConnections: request.reconnectTimeout > 0,
        flushWindow: request.flushWindow << 20)
      var lanes: [Lane] = []
      var kernelEnds: [Int32] = []
      // Metrics are no reason not to attach.
      let latency = try? LatencyCounters.make(
        path: directory.latency(of: identifier), lanes: parts.connections.count)
      for (number, connection) in parts.connections.enumerated() {
        let relay = try Relay(settings: settings, clock: clock)
        relay.channel = connection.channel
        relay.latency = latency?[number]
        kernelEnds.append(try relay.makePlainSide())
        lanes.append(try Lane(relay: relay, number: number) { events.signal.signal() })
      }
      return (lanes, events, kernelEnds)
    }
  }

  private func state(of parts: Parts, device: DeviceIndex) -> AttachmentState {
    let now = secondsSince1970()
    return AttachmentState(
      device: device.name, name: request.name?.description, pid: ThisProcess.identifier,
      server: request.connection.endpoint.server,
      address: "\(parts.connections[0].address)", export: request.connection.endpoint.export,
      identifier: identifier, options: request.comparable, size: parts.plan.size,
      readOnly: parts.plan.flags.contains(.readOnly), blockSize: parts.plan.blockSize,
      connections: parts.connections.count, dataPath: parts.path == .relay ? "relay" : "ktls",
      binding: parts.binder.kind.rawValue, link: .connected, since: now, attachedSince: now,
      tls: parts.connections[0].facts.map(TLSReport.init),
      reconnectTimeout: request.reconnectTimeout, ioTimeout: request.ioTimeout,
      exported: RecordedExport(parts.export), sockets: parts.liveSockets)
  }
}
