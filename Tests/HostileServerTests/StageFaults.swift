// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// The same lies at every stage at which a command awaits an answer inside TLS: `copy` asks for more
/// than `info` does, option by option.
@Suite struct StageFaults {
  @Test(arguments: Stage.allCases, Lie.allCases) func isRefused(_ stage: Stage, _ lie: Lie) throws {
    try lie.told(at: stage).play()
  }

  enum Stage: CaseIterable, CustomTestStringConvertible, Sendable {
    case list, structuredReply, setMetaContext, go, listInsteadOfGo, exportName
  }

  enum Lie: CaseIterable, Sendable {
    case truncated, truncatedWithin, truncatedAtTheLastByte, ended, reset, plaintext, garbage
  }
}

extension StageFaults.Stage {
  private typealias Option = Wire.Option

  var testDescription: String { name }

  fileprivate var name: String {
    switch self {
    case .list: "NBD_OPT_LIST"
    case .structuredReply: "NBD_OPT_STRUCTURED_REPLY"
    case .setMetaContext: "NBD_OPT_SET_META_CONTEXT"
    case .go: "NBD_OPT_GO"
    case .listInsteadOfGo: "NBD_OPT_LIST in place of NBD_OPT_GO"
    case .exportName: "NBD_OPT_EXPORT_NAME"
    }
  }

  fileprivate var verb: [String] { self == .list ? ["list"] : ["copy", "--to", "-"] }

  /// Goes on from the first option, received already, to the one that this stage answers.
  fileprivate func reach(_ connection: FakeConnection) throws {
    if self == .list || self == .structuredReply { return }
    if self == .setMetaContext {
      try connection.send(Wire.reply(to: Option.structuredReply, Wire.Reply.ack))
      try connection.expect(Option.setMetaContext)
      return
    }
    try connection.send(Wire.reply(to: Option.structuredReply, Wire.Reply.errUnsupported))
    try connection.expect(Option.go)
    if self == .go { return }
    try connection.send(Wire.reply(to: Option.go, Wire.Reply.errUnsupported))
    try connection.expect(Option.list)
    if self == .listInsteadOfGo { return }
    try connection.send(StageFaults.Stage.listInsteadOfGo.honest)
    try connection.expect(Option.exportName)
  }

  /// What would be right here.
  fileprivate var honest: [UInt8] {
    switch self {
    case .list, .listInsteadOfGo:
      Wire.reply(to: Option.list, Wire.Reply.server, Wire.be(UInt32(0)))
        + Wire.reply(to: Option.list, Wire.Reply.ack)
    case .structuredReply: Wire.reply(to: Option.structuredReply, Wire.Reply.ack)
    case .setMetaContext:
      Wire.reply(to: Option.setMetaContext, 4, Wire.be(UInt32(1)) + Array("base:allocation".utf8))
        + Wire.reply(to: Option.setMetaContext, Wire.Reply.ack)
    case .go:
      Wire.reply(to: Option.go, Wire.Reply.info, Wire.exportInfo(size: 1 << 20))
        + Wire.reply(to: Option.go, Wire.Reply.ack)
    case .exportName: Wire.be(UInt64(1 << 20)) + Wire.be(UInt16(1))
    }
  }
}

extension StageFaults.Lie {
  fileprivate func told(at stage: StageFaults.Stage) -> Fault {
    let honest = stage.honest
    // To close is the only way in which a server can refuse NBD_OPT_EXPORT_NAME.
    let refuses = stage == .exportName
    func fault(
      _ word: String, refuses: Bool = false, _ aftermath: Fault.Aftermath = .silenceInTLS,
      _ lie: @escaping FakeServer.Script
    ) -> Fault {
      .inTLS(
        "\(self) at \(stage.name)", verb: stage.verb, .refused(refuses ? 69 : 76, [word]), aftermath
      ) {
        try stage.reach($0)
        $0.fault()
        try lie($0)
      }
    }
    func cut(_ count: Int) -> Fault {
      fault("without a TLS close_notify", refuses: refuses && count == 0) {
        try $0.send(Array(honest.prefix(count)))
        $0.shutdownWrite()
      }
    }
    switch self {
    case .truncated: return cut(0)
    case .truncatedWithin: return cut(9)
    case .truncatedAtTheLastByte: return cut(honest.count - 1)
    case .ended:
      return fault("closed the connection", refuses: refuses) { $0.session?.endSession() }
    case .reset:
      return fault("without a TLS close_notify", refuses: refuses, .anything) { $0.reset() }
        .endedByServer
    case .plaintext: return fault("record", .alerts) { try $0.sendRaw(honest) }
    case .garbage:
      // The answer to another option, or a size beyond all bounds.
      return fault(stage == .exportName ? "2^63" : "wrong magic") {
        try $0.send([UInt8](repeating: 0xff, count: 64))
      }
    }
  }
}
