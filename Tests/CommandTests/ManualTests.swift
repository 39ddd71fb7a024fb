// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// The manuals say what the program does; docs/cli.md, against which they are held, is itself held
/// against `--help`.
@Suite struct ManualTests {
  private func manual(_ name: String) throws -> String {
    try String(contentsOfFile: "\(repository)/docs/man/\(name)", encoding: .utf8)
  }

  @Test func optionsAgree() throws {
    let documented = try DocumentedCommandLine().options
    let all = documented.values.reduce(into: Set<String>()) { $0.formUnion($1) }
    var found: Set<String> = []
    for match in try manual("nbd-secure.8").matches(of: /Fl (-[a-z0-9-]+|[a-z])\b/) {
      found.insert("-" + match.1)
    }
    #expect(found.symmetricDifference(all).subtracting(["-h"]) == [])
  }

  @Test func verbsAreDescribed() throws {
    let text = try manual("nbd-secure.8")
    for verb in try DocumentedCommandLine().options.keys {
      // In the synopsis, and with its description.
      #expect(text.components(separatedBy: "Cm \(verb)").count > 2, "\(verb)")
    }
  }

  @Test func exitStatusAgrees() throws {
    let text = try manual("nbd-secure.8")
    let table = try String(contentsOfFile: repository + "/docs/cli.md", encoding: .utf8)
    let section = try #require(table.firstRange(of: "## Exit status"))
    let codes = Set(
      table[section.upperBound...].matches(of: /\| ([0-9]{1,2}) \|/).map { String($0.1) })
    #expect(codes.count == 12)
    #expect(Set(text.matches(of: /\.It ([0-9]+)\n/).map { String($0.1) }) == codes)
  }

  @Test func attachmentExamplesAreTheFiles() throws {
    let text = try manual("nbd-secure-attachment.5")
    let directory = repository + "/examples/attachments"
    for file in try FileManager.default.contentsOfDirectory(atPath: directory) {
      let example = try String(contentsOfFile: "\(directory)/\(file)", encoding: .utf8)
      #expect(text.contains(".Bd -literal -offset indent\n\(example).Ed"), "\(file)")
    }
  }

  /// The example is the file that the policy tests know, and decides as it says itself.
  @Test func policyExampleIsTheFile() throws {
    let text = try manual("nbd-secure-policy.5")
    let example = try String(
      contentsOfFile: repository + "/examples/policy/laptop.toml", encoding: .utf8)
    let examples = text.matches(of: /\.Bd -literal -offset indent\n((?s:.)*?)\.Ed/)
    #expect(examples.map { String($0.1) } == [example])
    let directory = try TemporaryDirectory()
    let file = try directory.write("policy.toml", example, mode: 0o644)
    let trust = try PKI.shared.get().trustOnly
    for (arguments, status, said) in [
      // “Nothing leaves the machine in plaintext”, but to itself.
      (["nbd://127.0.0.1/", "--allow-plaintext"], 0, "allowed"),
      (["nbd://192.0.2.1/", "--allow-plaintext"], 78, "refuses"),
      (["nbd://127.0.0.1/"], 78, "--allow-plaintext"),
      (["nbds://192.0.2.1/", "--tls-creds", trust], 0, "allowed"),
      (
        [
          "nbds://backup.home.example/", "--address", "192.0.2.1", "--tls-creds", trust,
        ], 0, "rule 1 \"backup\""
      ),
    ] as [([String], Int32, String)] {
      let seen = try nbdSecure(
        ["policy", "explain", "--policy", file] + arguments,
        environment: ["XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent"])
      #expect(seen.status == status, "\(seen)")
      #expect((seen.stdout + seen.stderr).contains(said), "\(seen)")
    }
  }

  @Test(arguments: ["nbd-secure.8", "nbd-secure-attachment.5", "nbd-secure-policy.5"])
  func lintIsSilent(_ name: String) throws {
    let seen = try run(
      "/usr/bin/mandoc", ["-T", "lint", "-W", "warning", "\(repository)/docs/man/\(name)"])
    #expect(seen.status == 0 && seen.stdout.isEmpty, "\(seen)")
  }
}

/// What a shell gets to complete.
@Suite struct CompletionTests {
  @Test(arguments: [
    ("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"]),
  ]) func scriptsAreWellFormed(_ shell: String, _ check: [String]) throws {
    let script = try nbdSecure("--generate-completion-script", shell)
    #expect(script.status == 0)
    for word in ["import-nbdtab", "tls-creds", "prometheus"] {
      #expect(script.stdout.contains(word), "\(word)")
    }
    #expect(!script.stdout.contains("udev-properties"))
    let directory = try TemporaryDirectory()
    let file = try directory.write("completion", script.stdout)
    // fish makes its home where there is none, as root even /nonexistent.
    let home = try directory.directory("home")
    let seen = try run(
      shell, check + [file], environment: ["HOME": home, "XDG_CONFIG_HOME": home])
    #expect(seen.status == 0 && seen.stderr.isEmpty, "\(seen)")
  }
}

/// The unit, the rule and the metrics of the documentation.
@Suite struct PackagingTests {
  private func rendered(_ directory: TemporaryDirectory) throws -> String {
    for (source, name) in [
      ("nbd-secure@.service", "nbd-secure@data.service"),
      ("nbd-secure@.target", "nbd-secure@data.target"),
    ] {
      let text = try String(
        contentsOfFile: "\(repository)/packaging/systemd/\(source)", encoding: .utf8)
      try directory.write(
        name, text.replacing("/usr/bin/nbd-secure", with: nbdSecurePath), mode: 0o644)
    }
    return directory.file("nbd-secure@data.service")
  }

  @Test func unitsAreRight() throws {
    let directory = try TemporaryDirectory()
    let unit = try rendered(directory)
    let verified = try run(
      "systemd-analyze",
      ["verify", "--man=no", unit, directory.file("nbd-secure@data.target")])
    #expect(verified.status == 0 && verified.stderr.isEmpty, "\(verified)")
    let security = try run(
      "systemd-analyze",
      ["security", "--no-pager", "--offline=true", "--threshold=42", unit])
    #expect(security.status == 0, "\(security)")
  }

  @Test func rootUnitIsRight() throws {
    let directory = try TemporaryDirectory()
    let text = try String(
      contentsOfFile: "\(repository)/examples/systemd/nbd-secure@root.service", encoding: .utf8)
    let unit = try directory.write(
      "nbd-secure@root.service", text.replacing("/usr/bin/nbd-secure", with: nbdSecurePath),
      mode: 0o644)
    let verified = try run("systemd-analyze", ["verify", "--man=no", unit])
    // Older than 255, systemd does not know one of the two marks.
    let lines = verified.errorLines.filter { !$0.contains("SurviveFinalKillSignal") }
    #expect(verified.status == 0 && lines.isEmpty, "\(verified)")
    // What it runs with is what every other attachment does.
    let template = try String(
      contentsOfFile: "\(repository)/packaging/systemd/nbd-secure@.service", encoding: .utf8)
    #expect(settings(text) == settings(template))
  }

  /// The lines of a unit's [Service] that are settings, without the mark of a process that stays.
  private func settings(_ unit: String) -> [Substring] {
    unit.split(separator: "\n").drop { $0 != "[Service]" }.prefix { $0 != "[Install]" }
      .filter { !$0.hasPrefix("#") }
      .map {
        $0.hasPrefix("ExecStart=")
          ? $0.replacing("@nbd-secure ", with: "").replacing("=@", with: "=")[...] : $0
      }
  }

  @Test func monitoringDescribesEveryMetric() throws {
    let sources = try String(
      contentsOfFile: repository + "/Sources/NBDSecure/Metrics/ExpositionText.swift",
      encoding: .utf8)
    let page = try String(contentsOfFile: repository + "/docs/MONITORING.md", encoding: .utf8)
    let metrics = Set(
      sources.matches(of: /Self\(\s*"([a-z_]+)"/).map { "nbd_secure_\($0.1)" })
    #expect(metrics.count > 10)
    let described = Set(page.matches(of: /nbd_secure_[a-z_]+/).map { String($0.0) })
    #expect(described == metrics)
  }
}
