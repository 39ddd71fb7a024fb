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

  /// What the parser's scripts lack. They know no default verb: what begins with an option or a URI is
  /// attach's. And that for fish counts no argument that it can offer nothing for, such as copy's first.
  static func completed(_ script: String) -> String {
    let copy = "\"nbd-secure copy\" "
    return [bash, zsh, fish].reduce(script) { script, place in
      script.replacing(place.mark, with: place.insertion + place.mark, maxReplacements: 1)
    }.replacing("\(copy)-eq 1' -F", with: "\(copy)-ge 1' -F")
  }

  /// A place that one of the scripts has, and what goes before it.
  private struct Insertion {
    let mark: String
    let insertion: String
  }

  /// In bash and zsh: where the first word is no verb, it is for attach's function.
  private static func attachWithoutVerb(_ firstWord: String) -> String {
    """
        case "\(firstWord)" in
        -h|--help|--version) ;;
        -*|nbd:*|nbds:*|nbd+*|nbds+*)
            "_nbd-secure_attach"
            return
            ;;
        esac
    """
  }

  /// Bash cuts words at their colons, so a URI would count as several.
  private static let bash = Insertion(
    mark: "\n    __nbd-secure_offer_flags_options 0\n",
    insertion: """

          local -a whole_words=()
          local part before=
          for part in "${unparsed_words[@]}"; do
              if [[ ${#whole_words[@]} -gt 0 && (${part} = :* || ${before} = *:) ]]; then
                  whole_words[-1]+=${part}
              else
                  whole_words+=("${part}")
              fi
              before=${part}
          done
          unparsed_words=("${whole_words[@]}")
      \(attachWithoutVerb("${unparsed_words[0]}"))
      """)

  private static let zsh = Insertion(
    mark: """

          local -i ret=1
          local -ar arg_specs=(
              '--version[
      """,
    insertion: "\n\(attachWithoutVerb("${words[2]}"))\n")

  /// Of the words before the cursor the one that it is in is not; it can be the first.
  private static let fish = Insertion(
    mark: "\n    switch $unparsed_tokens[1]\n    case 'nbd-secure'\n",
    insertion: """

          set -l first_words $unparsed_tokens[2] (commandline -ct)
          if string match -qr -- '^(-|nbds?[:+])' "$first_words[1]"
              and not contains -- "$first_words[1]" -h --help --version
              set -l behind $unparsed_tokens
              set -e behind[1]
              set unparsed_tokens $unparsed_tokens[1] attach $behind
          end
      """)
}
