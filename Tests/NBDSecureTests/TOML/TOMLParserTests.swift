// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import NBDSecure

@Suite("TOML")
struct TOMLParserTests {
  /// The value in a form that is easy to write down.
  private static func text(_ value: TOMLValue) -> String {
    switch value.kind {
    case .string(let string): "'\(string)'"
    case .integer(let number): "\(number)"
    case .boolean(let flag): "\(flag)"
    case .array(let values): "[" + values.map(text).joined(separator: " ") + "]"
    case .table(let entries): text(entries)
    case .other(let name): name
    }
  }

  private static func text(_ entries: [String: TOMLValue]) -> String {
    let pairs = entries.sorted { $0.key < $1.key }.map { "\($0.key)=\(text($0.value))" }
    return "{" + pairs.joined(separator: " ") + "}"
  }

  @Test(arguments: [
    ("", "{}"), ("\u{feff}# only a comment", "{}"), ("a=1\r\nb=2", "{a=1 b=2}"),
    (
      "a = -9223372036854775808\nb = +1_000\nc = 0xDead_beef\nd = 0o17\ne = 0b101",
      "{a=-9223372036854775808 b=1000 c=3735928559 d=15 e=5}"
    ),
    ("a = true\nb = false", "{a=true b=false}"),
    (
      "a = 1.5\nb = 1e-5\nc = inf\nd = 1979-05-27\ne = 07:32:00\nf = 1979-05-27T07:32:00Z",
      "{a=floating-point number b=floating-point number c=floating-point number d=date e=time "
        + "f=date}"
    ),
    (#"a = "x\t\"\\\u00e9\U0001F600""#, "{a='x\t\"\\é😀'}"), (#"a = 'x\t'"#, #"{a='x\t'}"#),
    ("a = \"\"\"\nx\n  \\\n\n  y\"\"\"", "{a='x\n  y'}"), ("a = '''\n'x''\n'''", "{a=''x''\n'}"),
    (#"a = """"x"""""#, #"{a='"x"'}"#),
    ("a = [1, # one\n 2,\n]", "{a=[1 2]}"), ("a = [[], ['x'], {b = 1}]", "{a=[[] ['x'] {b=1}]}"),
    ("a.b.c = 1\na.b.d = 2", "{a={b={c=1 d=2}}}"), ("\"a.b\" . 'c d' = 1", "{a.b={c d=1}}"),
    ("[a]\nx = 1\n[a.b]\ny = 2\n[c.d]\n[c]\nz = 3", "{a={b={y=2} x=1} c={d={} z=3}}"),
    ("[[a]]\nx = 1\n[[a]]\n[a.b]\ny = 2\n[[a.c]]", "{a=[{x=1} {b={y=2} c=[{}]}]}"),
    ("a = {b.c = 1, d = {}}", "{a={b={c=1} d={}}}"),
    ("[a]\nb.c = 1\n[a.b.d]", "{a={b={c=1 d={}}}}"),
  ]) func valid(text: String, tree: String) throws {
    #expect(Self.text(try TOMLParser.parse(text)) == tree)
  }

  @Test(arguments: [
    ("a", 1), ("a =", 1), ("\n= 1", 2), ("a = 1 b = 2", 1), ("a = 1\na = 2", 2), ("[", 1),
    ("[\n", 1),
    ("[\r\n", 1), ("[a", 1), ("[[a]", 1), ("[a]]", 1), ("[ [a] ]", 1), ("[a]\n[a]", 2),
    ("a = 1\n[a]", 2),
    ("[[a]]\n[a]", 2), ("[a]\n[[a]]", 2), ("a = []\n[[a]]", 2), ("a = {}\n[a.b]", 2),
    ("a = {}\na.b = 1", 2), ("a.b = 1\n[a]", 2), ("[a.b]\n[a]\nb.c = 1", 3),
    ("a = {b = 1, b = 2}", 1),
    ("a = {b = 1,}", 1), ("a = {b = 1\n}", 1), ("a = [1 2]", 1), ("a = [1,,2]", 1), ("a = [", 1),
    ("a = \"x", 1), ("a = \"x\ny\"", 1), ("a = 'x\n'", 1), ("a = \"\"\"x", 1),
    ("\"\"\"a\"\"\" = 1", 1),
    ("a = \"\\x41\"", 1), ("a = \"\\u12\"", 1), ("a = \"\\ud800\"", 1), ("a = \"\\u0000\"", 1),
    ("a = \"\0\"", 1), ("# \u{7f}", 1), ("a = 1\r", 1), ("a = 01", 1), ("a = 1__0", 1),
    ("a = _1", 1),
    ("a = 9223372036854775808", 1), ("a = 0x", 1), ("a = +0x1", 1), ("a = 1.", 1), ("a = .5", 1),
    ("a = True", 1), ("a = é", 1), ("é = 1", 1), ("a. = 1", 1), ("a..b = 1", 1), ("{}", 1),
    ("a = '''''''''", 1), ("[]", 1), ("[a.]", 1),
  ]) func invalid(text: String, line: Int) throws {
    let error = #expect(throws: TOMLError.self) { try TOMLParser.parse(text) }
    #expect(error?.line == line, "\(error?.reason ?? "")")
  }

  @Test func lines() throws {
    let entries = try TOMLParser.parse("# one\n\na = [\n1,\n2]\n[b]\nc = 1")
    #expect(entries["a"]?.line == 3)
    guard case .array(let values) = entries["a"]?.kind else { throw TOMLError(line: 0, reason: "") }
    #expect(values.map(\.line) == [4, 5])
    #expect(entries["b"]?.line == 6)
  }

  @Test func `nesting is bounded`() {
    for unit in ["[", "{a=", "[[", "a."] {
      let text = "a = " + String(repeating: unit, count: 100_000)
      #expect(throws: TOMLError.self) { try TOMLParser.parse(text) }
    }
    let header = "[" + String(repeating: "a.", count: 100_000) + "a]"
    #expect(throws: TOMLError.self) { try TOMLParser.parse(header) }
  }

  /// Eight times the tables cost about eight times the work, not sixty-four times: counted in this
  /// thread's own processor time, which a busy machine leaves alone.
  @Test func `many tables take work in proportion`() throws {
    func work(tables count: Int) throws -> Double {
      let text = String(repeating: "[[a]]\nb = 1\n", count: count)
      return try processorTime {
        guard case .array(let tables) = try TOMLParser.parse(text)["a"]?.kind else {
          Issue.record("no tables")
          return
        }
        #expect(tables.count == count)
      }
    }
    let few = try work(tables: 1000)
    let many = try work(tables: 8000)
    #expect(many < few * 40, "\(many / few) times the work")
  }

  @Test func `nothing traps`() {
    let pieces = [
      "a", ".", "=", "\n", "\r", "[", "]", "[[", "]]", "{", "}", ",", "1", "0x", "_", "e", "-", "+",
      "'", "\"", "'''", "\"\"\"", "\\", "\\u00", "#", " ", "é", "\0", "true", "1979-05-27", "inf",
    ]
    var random = PolicyRandom(seed: 11)
    var valid = 0
    for _ in 0..<20_000 {
      let count = Int.random(in: 1...12, using: &random)
      let text = (0..<count).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
      if (try? TOMLParser.parse(text)) != nil { valid += 1 }
    }
    #expect(valid > 0)
  }
}
