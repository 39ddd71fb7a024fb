// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// A shell that completes, asked by the script that the program prints for it.
struct CompletingShell: CustomTestStringConvertible {
  let name: String
  var testDescription: String { name }

  static let all = ["bash", "zsh", "fish"].map { CompletingShell(name: $0) }

  /// The words that it would put in place of the last one of the line, without what it appends.
  func offered(_ words: [String], in directory: TemporaryDirectory) throws -> Set<String> {
    try directory.write(
      "_nbd-secure", nbdSecure("--generate-completion-script", name).stdout)
    let bin = URL(fileURLWithPath: nbdSecurePath).deletingLastPathComponent().path
    let steps = "cd '\(directory.path)'; export PATH=\"\(bin):$PATH\"\n\(script)"
    // fish makes its home where there is none, as root even /nonexistent.
    let home = try TemporaryDirectory()
    let seen = try run(
      name, options + ["-c", steps] + arguments(words),
      environment: ["HOME": home.path, "XDG_CONFIG_HOME": home.path])
    guard seen.status == 0, seen.stderr.isEmpty else {
      throw SystemError(name, because: seen.description)
    }
    return Set(
      seen.stdout.split(separator: "\n").map { line in
        let word = line.prefix { $0 != "\t" }
        return String(word.hasSuffix("/") ? word.dropLast() : word)
      })
  }

  private var options: [String] {
    switch name {
    case "zsh": ["-f"]
    case "fish": ["--no-config"]
    default: []
    }
  }

  private func arguments(_ words: [String]) -> [String] {
    switch name {
    case "bash": ["bash", "nbd-secure"] + words.flatMap(Self.cutAtColons)
    case "zsh": ["zsh", (["nbd-secure"] + words).joined(separator: " ")]
    default: [(["nbd-secure"] + words).joined(separator: " ")]
    }
  }

  /// As bash does: a run of colons is a word of its own.
  private static func cutAtColons(_ word: String) -> [String] {
    word.matches(of: /:+|[^:]+/).map { String($0.0) }
  }

  private var script: String {
    switch name {
    case "bash":
      """
      . ./_nbd-secure
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
      _nbd-secure nbd-secure "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
      printf '%s\\n' "${COMPREPLY[@]}"
      """
    case "fish": "source ./_nbd-secure; complete -C $argv[1]"
    default: Self.zsh
    }
  }

  /// Zsh completes in its line editor alone, which needs a terminal. What is offered passes `compadd`.
  private static let zsh = #"""
    cat >rc <<'END'
    PS1= PS2= RPS1=
    fpath=($PWD $fpath)
    autoload -Uz compinit
    compinit -u -d $PWD/dump
    compadd() {
      local -a hits
      if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        builtin compadd -A hits "$@"
        print -rl -- $hits >>offered
      fi
      builtin compadd "$@"
    }
    edits() { : >ready }
    leave() { zle kill-whole-line; exit }
    zle -N leave
    bindkey '^I' complete-word
    bindkey '^T' leave
    zle -N zle-line-init edits
    END
    zmodload zsh/zpty
    : >offered
    zpty shell zsh -f -i
    zpty -w shell '. ./rc'
    until [[ -e ready ]]; do sleep 0.02; done
    zpty -n -w shell "$1"$'\t\C-t'
    while zpty -r shell line; do :; done
    cat offered
    rm -f ready
    """#
}

/// What the shells offer.
@Suite struct OfferedWordsTests {
  @Test(arguments: CompletingShell.all)
  func verbsOptionsAndFiles(_ shell: CompletingShell) throws {
    let directory = try TemporaryDirectory()
    try directory.write("disk.img", "")
    try directory.directory("pki", mode: 0o755)
    try directory.write("rules.toml", "")
    func offered(_ words: String...) throws -> Set<String> {
      try shell.offered(words, in: directory)
    }
    #expect(try offered("sta") == ["status"])
    #expect(try offered("policy", "sh") == ["show"])
    #expect(try offered("copy", "--to", "di") == ["disk.img"])
    // Without a verb it is attach.
    #expect(try offered("--tls-cr") == ["--tls-creds"])
    #expect(try offered("--hostname", "host", "--read-o") == ["--read-only"])
    #expect(try offered("nbds://host/", "--read-o") == ["--read-only"])
    #expect(try offered("--tls-creds", "pk") == ["pki"])
    #expect(try offered("--hel") == ["--help"])
    // A URI is one argument.
    #expect(try offered("info", "nbds://[::1]:10810/", "--js") == ["--json"])
    #expect(try offered("copy", "nbds://host/", "di") == ["disk.img"])
  }

  @Test func filesInBash() throws {
    let bash = CompletingShell(name: "bash")
    let directory = try TemporaryDirectory()
    try directory.write("disk.img", "")
    try directory.write("rules.toml", "")
    for words in [["copy", "--from"], ["proxy", "--listen"]] {
      #expect(try bash.offered(words + ["di"], in: directory) == ["disk.img"], "\(words)")
    }
    #expect(
      try bash.offered(["policy", "show", "--policy", "ru"], in: directory) == ["rules.toml"])
  }
}
