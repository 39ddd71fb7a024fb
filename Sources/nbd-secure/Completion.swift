// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import NBDSecure

/// What the shell offers for arguments that are things of this host.
enum Completion {
  static let devices = CompletionKind.custom { _, _, word in knownDevices(word) }

  static let attachments = CompletionKind.custom { _, _, _ in
    NamedAttachment.names().map(\.description)
  }

  static let devicesAndAttachments = CompletionKind.custom { _, _, word in
    knownDevices(word) + NamedAttachment.names().map(\.description)
  }

  /// Devices in the form in which the word was begun, `nbd0` or `/dev/nbd0`.
  private static func knownDevices(_ word: String) -> [String] {
    let paths = Attachments.knownDevices()
    return word.hasPrefix("/") ? paths : paths.map { String($0.dropFirst("/dev/".count)) }
  }

  /// The parser's script for bash knows no default verb: what begins with an option or a URI, which
  /// bash cuts at its colons, is attach's.
  static func withDefaultVerb(_ script: String) -> String {
    let whole = "\n    __nbd-secure_offer_flags_options 0\n"
    return script.replacing(
      whole,
      with: """

            case "${COMP_WORDS[1]}" in
            -h|--help|--version) ;;
            -*|*:*|nbd|nbds|nbd+*|nbds+*)
                while [[ ${#unparsed_words[@]} -gt 2 && ${unparsed_words[0]} != -* &&
                        ${unparsed_words[1]} != -* ]]; do
                    unparsed_words=("${unparsed_words[0]}" "${unparsed_words[@]:2}")
                done
                "_nbd-secure_attach"
                return
                ;;
            esac\(whole)
        """, maxReplacements: 1)
  }
}
