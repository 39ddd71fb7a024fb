// SPDX-License-Identifier: Apache-2.0
import NBDKernel
import NBDProtocol
import TLS

@testable import NBDSecure

/// A URI from the command line.
func fuzzURI(_ bytes: [UInt8]) {
  let text = String(decoding: bytes, as: UTF8.self)
  do throws(NBDURIError) {
    let uri = try NBDURI(text)
    require(!uri.exportName.string.utf8.contains(0), "export names have no NUL")
    require(uri.exportName.string.utf8.count <= 4096, "export names are bounded")
    for value in [uri.tlsCertificates, uri.tlsPSKFile, uri.tlsHostname, uri.user] {
      require(value?.utf8.contains(0) != true, "no part has a NUL")
    }
  } catch {
    requirePrintable("\(error)")
  }
}

/// A file of pre-shared keys.
func fuzzPSKFile(_ bytes: [UInt8]) {
  do throws(PSKFile.Failure) {
    let file = try PSKFile(parsing: bytes)
    var names: Set<[UInt8]> = []
    for entry in file.entries {
      require(names.insert(entry.identity.bytes).inserted, "identities are unique")
      require(!entry.identity.bytes.isEmpty, "identities are not empty")
      let range = entry.digits.lowerBound >= 0 && entry.digits.upperBound <= bytes.count
      require(range && !entry.digits.isEmpty, "keys lie in the file")
      require(entry.digits.count.isMultiple(of: 2), "keys are whole bytes")
    }
  } catch {
    require(error.line >= 1, "lines are counted from 1")
  }
}

/// A policy file.
func fuzzPolicy(_ bytes: [UInt8]) {
  let text = String(decoding: bytes, as: UTF8.self)
  do throws(PolicyError) {
    let file = try PolicyFile(parsing: text, path: "policy.toml") { $0 }
    require(file.rules.count <= PolicyFile.maximumRuleCount, "rules are bounded")
  } catch {
    requirePrintable(error.summary)
  }
}

/// What a netlink socket brings: the first byte chooses nothing, the kernel's answers are parsed as
/// everything that they could be.
func fuzzNetlink(_ bytes: [UInt8]) {
  guard let messages = try? NetlinkMessage.parse(bytes) else { return }
  for message in messages {
    require(message.payload.count <= bytes.count, "payloads lie in the datagram")
    if let verdict = try? NetlinkVerdict(message) {
      require(verdict.code >= 0, "errno is positive")
    }
  }
  _ = try? GenericNetlinkFamily(messages)
  for family in Set(messages.map(\.type)) {
    _ = try? NBDMessage.connected(messages, family: family)
    _ = try? NBDMessage.statuses(messages, family: family)
    _ = try? NBDMessage.deadLinks(messages, family: family)
  }
}
