// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// The program's help and docs/cli.md say the same.
@Suite struct HelpTests {
  @Test func verbsAgree() throws {
    let documented = try DocumentedCommandLine().options.keys
    #expect(documented.contains("attach"))
    #expect(try HelpText(nil).verbs == Set(documented))
  }

  @Test func optionsAgreeVerbByVerb() throws {
    let documented = try DocumentedCommandLine().options
    #expect(documented["attach", default: []].count > 20)
    for (verb, options) in documented {
      // Only the root prints completions, and help and version have short names everywhere.
      let common: Set = ["-h", "--generate-completion-script"]
      var offered = try HelpText(verb).options
      for below in try HelpText(verb).verbs {
        offered.formUnion(try HelpText("\(verb) \(below)").options)
      }
      #expect(offered.subtracting(common) == options.subtracting(common), "\(verb)")
    }
  }

  @Test func versionNamesGnuTLS() throws {
    let seen = try nbdSecure("--version")
    #expect(seen.status == 0, "\(seen)")
    #expect(
      seen.stdout.wholeMatch(of: /nbd-secure \d+\.\d+.* \(GnuTLS 3\.\d+\.\d+\)\n/) != nil, "\(seen)"
    )
  }

  @Test(arguments: ["bash", "zsh", "fish"]) func completionsAreGenerated(_ shell: String) throws {
    let seen = try nbdSecure("--generate-completion-script", shell)
    #expect(seen.status == 0, "\(seen)")
    #expect(seen.stdout.contains("tls-creds"))
  }
}
