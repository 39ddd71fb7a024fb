// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDProtocol
import SystemPackage
import TLS

/// Opens connections: policy, transport, STARTTLS, verification, export, policy again.
///
/// Everything is read anew for each connection: credentials, revocation list, policy files.
struct Connector: Sendable {
  let request: ConnectionRequest
  /// What policy needs to know of the use; see `PolicyQuestion`.
  var use = ConnectionUse()
  /// What to ask the server for beyond simple replies.
  var extensions = Extensions.none
  /// Hears what happens, for `-v`; never key material.
  var trace: @Sendable (String) -> Void = { _ in }
  /// Hears what the user should know although it is no error.
  var warn: @Sendable (String) -> Void = { _ in }
  /// Hears what is found on the way, for `check`, also where it comes to nothing.
  var observe: (@Sendable (ConnectionEvent) -> Void)?

  /// By when connections that are opened now must be made.
  var deadline: Deadline { .after(seconds: request.connectTimeout) }

  /// Connects and negotiates, all within the request's connect timeout.
  func open(_ goal: Goal) throws(NBDSecureError) -> Connection {
    try open(goal, by: deadline)
  }

  /// Connects and negotiates, all by `deadline`.
  func open(_ goal: Goal, by deadline: Deadline) throws(NBDSecureError) -> Connection {
    let credentials = try LoadedCredentials(
      request, identity: use.previousIdentity, warn: warn)
    var judge = try PolicyJudge(request, use: use, credentials: credentials)
    let addresses = try request.addresses(by: deadline)
    let wanted = try judge.ask(about: addresses, goal: goal)
    if let secret = credentials.tls {
      do { try wanted.check(with: secret.credentials) } catch {
        throw NBDSecureError(error, for: request, policy: judge.origins)
      }
    }
    let socket = try connect(to: addresses, by: deadline)
    let address = socket.address
    trace("connected to \(address)")
    observe?(.connected(address))
    // Nothing is sent before policy has judged where the connection really leads.
    let requirements = try judge.ask(about: addresses + [address], goal: goal)
    let security: Security = request.isPlaintext ? .plaintext : .tlsRequired
    var dialogue = Dialogue(
      negotiation: Negotiation(goal: goal, security: security, extensions: extensions),
      server: request.endpoint.server,
      deadline: deadline, trace: trace)

    let plain = PlainTransport(socket: socket.descriptor)
    guard let secret = credentials.tls else {
      let verdict = try dialogue.finish(over: plain)
      observe?(.judged(judge.explain(address: address, facts: nil)))
      let policy = try judge.accept(address: address, facts: nil)
      return Connection(
        verdict: verdict, channel: PlainChannel(plain.socket), facts: nil, address: address,
        farewell: dialogue.farewell, agreement: dialogue.agreement, policy: policy)
    }
    do { try dialogue.untilStartTLS(over: plain) } catch {
      throw error.explainingTLS(of: request)
    }
    let tls: TLSTransport
    do {
      tls = try plain.upgrade(
        credentials: secret.credentials, identity: secret.identity, requirements: requirements,
        deadline: deadline)
    } catch { throw NBDSecureError(error, for: request, policy: judge.origins) }
    guard let facts = tls.session.facts else {
      throw NBDSecureError(.identity, "\(request.endpoint.server): the handshake proved nothing")
    }
    trace("TLS: \(facts.summary)")
    observe?(.proved(facts))
    if let peer = facts.peer,
      let warning = Expiry.warning(
        "\(request.endpoint.server): the server's certificate \(peer.subject)",
        notAfter: peer.notAfter)
    {
      warn(warning)
    }
    observe?(.judged(judge.explain(address: address, facts: facts)))
    let policy = try judge.accept(address: address, facts: facts)
    let verdict = try dialogue.finish(over: tls)
    return Connection(
      verdict: verdict, channel: TLSChannel(tls.session), facts: facts, address: address,
      farewell: dialogue.farewell, agreement: dialogue.agreement, policy: policy)
  }

  private struct Connected: ~Copyable {
    let descriptor: Descriptor
    let address: SocketAddress
  }

  /// Tries each address in turn; the time left is shared out so that each gets a try.
  private func connect(
    to addresses: [SocketAddress], by deadline: Deadline
  ) throws(NBDSecureError) -> Connected {
    var failures: [String] = []
    var timedOut = false
    for (number, address) in addresses.enumerated() {
      let share = deadline.remainingSeconds / Double(addresses.count - number)
      trace("connecting to \(address)")
      do {
        let socket = try connectStream(to: address, deadline: min(.after(seconds: share), deadline))
        if address.isTCP, let seconds = use.userTimeout {
          try setUserTimeout(socket.raw, seconds: seconds)
        }
        // What the kernel made of the address may be another one.
        let peer = address.isTCP ? try SocketAddress.peer(of: socket.raw) : address
        return Connected(descriptor: socket, address: peer)
      } catch {
        timedOut = error == .timedOut
        failures.append("\(address): \(error == .timedOut ? "no answer" : "\(error)")")
      }
    }
    let why = failures.joined(separator: "; ")
    if timedOut, deadline.hasPassed {
      throw .timedOut("cannot connect to \(request.endpoint.server): \(why)", after: request)
    }
    throw NBDSecureError(
      .unavailable, "cannot connect to \(request.endpoint.server): \(why)",
      hint: addresses.first?.isTCP == false
        ? "check that the NBD server runs there and that this user may open its socket"
        : "check that the NBD server runs there and that no firewall is in between")
  }
}

/// What was found on the way to a connection.
enum ConnectionEvent: Sendable {
  /// The transport is connected.
  case connected(SocketAddress)
  /// The handshake is done, and the server verified.
  case proved(SessionFacts)
  /// What policy says to it.
  case judged(PolicyExplanation?)
}
