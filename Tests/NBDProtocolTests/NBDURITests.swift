// SPDX-License-Identifier: Apache-2.0

import NBDProtocol
import Testing

@Suite struct NBDURITests {
  struct Good: CustomTestStringConvertible {
    let text: String
    let transport: NBDURI.Transport
    var export = ""
    var requiresTLS = true
    var user: String?
    var testDescription: String { text }
  }

  @Test(arguments: [
    // The examples of uri.md.
    Good(
      text: "nbd://example.com/disk", transport: .tcp(host: "example.com", port: 10809),
      export: "disk", requiresTLS: false),
    Good(
      text: "nbd+unix:///disk?socket=sock", transport: .unix(path: "sock"), export: "disk",
      requiresTLS: false),
    Good(
      text: "nbd://example.com/", transport: .tcp(host: "example.com", port: 10809),
      requiresTLS: false),
    Good(
      text: "nbd://example.com", transport: .tcp(host: "example.com", port: 10809),
      requiresTLS: false),
    Good(
      text: "nbd://example.com//disk", transport: .tcp(host: "example.com", port: 10809),
      export: "/disk", requiresTLS: false),
    Good(
      text: "nbd://example.com/hello%20world", transport: .tcp(host: "example.com", port: 10809),
      export: "hello world", requiresTLS: false),
    Good(text: "nbds://h:1/x", transport: .tcp(host: "h", port: 1), export: "x"),
    Good(text: "nbds://h:65535/", transport: .tcp(host: "h", port: 65535)),
    Good(text: "NBDS://H/", transport: .tcp(host: "H", port: 10809)),
    Good(text: "nbds://h:/x", transport: .tcp(host: "h", port: 10809), export: "x"),
    Good(text: "nbds://h?", transport: .tcp(host: "h", port: 10809)),
    Good(text: "nbds://192.0.2.1:99/", transport: .tcp(host: "192.0.2.1", port: 99)),
    Good(text: "nbds://[::1]/", transport: .tcp(host: "::1", port: 10809)),
    Good(
      text: "nbds://[2001:db8::1]:42/a/b", transport: .tcp(host: "2001:db8::1", port: 42),
      export: "a/b"),
    Good(text: "nbds://[fe80::1%25eth0]/", transport: .tcp(host: "fe80::1%eth0", port: 10809)),
    Good(
      text: "nbds://alice@h/x", transport: .tcp(host: "h", port: 10809), export: "x", user: "alice"),
    Good(
      text: "nbds://a%40b%C3%A9@h/x", transport: .tcp(host: "h", port: 10809), export: "x",
      user: "a@bé"),
    Good(text: "nbds://h/%C3%A9%2F%3F%25", transport: .tcp(host: "h", port: 10809), export: "é/?%"),
    Good(text: "nbds://h/a+b", transport: .tcp(host: "h", port: 10809), export: "a+b"),
    Good(text: "nbds+unix:///?socket=/run/a%20b", transport: .unix(path: "/run/a b")),
    Good(text: "nbds+unix:/x?socket=/s", transport: .unix(path: "/s"), export: "x"),
    Good(
      text: "nbds+unix://bob@/x?socket=/s=1", transport: .unix(path: "/s=1"), export: "x",
      user: "bob"),
    Good(text: "nbds+vsock://2/x", transport: .vsock(cid: 2, port: 10809), export: "x"),
    Good(text: "nbds+vsock://2:70000/", transport: .vsock(cid: 2, port: 70000)),
    Good(
      text: "nbd+vsock://4294967294:4294967294", transport: .vsock(cid: .max - 1, port: .max - 1),
      requiresTLS: false),
  ])
  func good(_ good: Good) throws {
    let uri = try NBDURI(good.text)
    #expect(uri.transport == good.transport)
    #expect(uri.exportName.string == good.export)
    #expect(uri.requiresTLS == good.requiresTLS)
    #expect(uri.user == good.user)
    #expect(NBDURI.isURI(good.text))
  }

  @Test func keys() throws {
    let x509 = try NBDURI(
      "nbds://h/?tls-certificates=/etc/p%26ki&tls-hostname=n.example&tls-verify-peer=1&tls-type=x509"
    )
    #expect(x509.tlsCertificates == "/etc/p&ki")
    #expect(x509.tlsHostname == "n.example")
    #expect(x509.tlsType == .x509)
    #expect(x509.tlsPSKFile == nil)
    let psk = try NBDURI("nbds://u@h/?tls-psk-file=keys.psk&tls-type=psk")
    #expect(psk.tlsPSKFile == "keys.psk")
    #expect(psk.tlsType == .psk)
    // A directory may hold keys.psk.
    #expect(try NBDURI("nbds://u@h/?tls-certificates=d&tls-type=psk").tlsCertificates == "d")
  }

  @Test(
    arguments: [
      ("", .noScheme), ("h", .noScheme), ("://h", .noScheme), ("n_d://h", .noScheme),
      ("http://h/", .unknownScheme("http")), ("nbd+tcp://h/", .unknownScheme("nbd+tcp")),
      ("nbds://h/a b", .character(" ")), ("nbds://h/é", .character("é")),
      ("nbds://h/a\nb", .character("\n")), ("nbds://h/\u{0}", .character("\u{0}")),
      ("nbds://h/<", .character("<")),
      ("nbds://h/%", .percentEncoding(in: "the export name")),
      ("nbds://h/%4", .percentEncoding(in: "the export name")),
      ("nbds://h/%g0", .percentEncoding(in: "the export name")),
      ("nbds://%zz/", .percentEncoding(in: "the host")),
      ("nbds://h/%ff", .notUTF8(in: "the export name")),
      ("nbds://h/%C0%80", .notUTF8(in: "the export name")),
      ("nbds://h/%00", .nul(in: "the export name")),
      ("nbd+unix:///?socket=%00/abstract", .nul(in: "the value of socket")),
      ("nbds://h/x#y", .fragment),
      ("nbds:h/x", .relativePath),
      ("nbds:///x", .noHost), ("nbds://", .noHost), ("nbds:", .noHost), ("nbds:/x", .noHost),
      ("nbds://:10809/", .noHost), ("nbds+vsock:///x", .noHost),
      ("nbds://a%20b/", .host("a b")), ("nbds://a%2Fb/", .host("a/b")),
      ("nbds://-%0a/", .host("-\n")), ("nbds://a(b)/", .host("a(b)")),
      ("nbds://::1/", .ipv6Brackets("::1")), ("nbds://[::1/", .ipv6Brackets("[::1")),
      ("nbds://[::1]x/", .ipv6Brackets("[::1]x")), ("nbds://[]/", .ipv6Brackets("")),
      ("nbds://[host]/", .ipv6Brackets("host")), ("nbds://[v1.x]/", .ipv6Brackets("v1.x")),
      ("nbds://[fe80::1%25]/", .ipv6Brackets("fe80::1%")),
      ("nbds://h:0/", .port("0")), ("nbds://h:65536/", .port("65536")),
      ("nbds://h:-1/", .port("-1")),
      ("nbds://h:+1/", .port("+1")), ("nbds://h:x/", .port("x")), ("nbds://[::1]:x/", .port("x")),
      ("nbds://h:99999999999999999999/", .port("99999999999999999999")),
      ("nbds+vsock://host/", .vsockCID("host")),
      ("nbds+vsock://4294967295/", .vsockCID("4294967295")),
      ("nbds+vsock://2:0/", .vsockPort("0")),
      ("nbds+vsock://2:4294967295/", .vsockPort("4294967295")),
      ("nbds://@h/", .emptyUser), ("nbds://u:p@h/", .password),
      ("nbds+unix://h/x?socket=/s", .hostForUnixSocket("h")),
      ("nbds+unix:///x", .noSocket), ("nbds+unix:///x?socket=", .emptyValue("socket")),
      ("nbds://h/x?socket=/s", .socketWithoutUnix),
      ("nbds://h/x?sockets=/s", .unknownKey("sockets")), ("nbds://h/x?&", .unknownKey("")),
      ("nbds://h/x?tls-hostname=a&", .unknownKey("")),
      ("nbds://h/?TLS-type=psk", .unknownKey("TLS-type")),
      ("nbds://h/?tls-hostname=a&tls-hostname=b", .repeatedKey("tls-hostname")),
      ("nbds://h/?tls-hostname", .emptyValue("tls-hostname")),
      ("nbds://h/?tls-verify-peer=0", .verifyPeerOff),
      ("nbds://h/?tls-verify-peer=2", .verifyPeer("2")),
      ("nbds://h/?tls-type=anon", .tlsType("anon")), ("nbds://h/?tls-type=X509", .tlsType("X509")),
      (
        "nbds://h/?tls-psk-file=a&tls-certificates=b",
        .contradiction("tls-certificates and tls-psk-file")
      ),
      ("nbds://h/?tls-psk-file=a&tls-type=x509", .contradiction("tls-type=x509 and tls-psk-file")),
      (
        "nbds://u@h/?tls-type=x509",
        .contradiction("tls-type=x509 and a user, which names a PSK identity")
      ),
    ] as [(String, NBDURIError)])
  func bad(_ text: String, _ expected: NBDURIError) {
    #expect(throws: expected) { try NBDURI(text) }
    #expect(!expected.description.isEmpty)
    #expect(!expected.description.contains("\n"))
  }

  @Test func longExportName() throws {
    let longest = String(repeating: "x", count: 4096)
    #expect(try NBDURI("nbds://h/" + longest).exportName.string == longest)
    #expect(throws: NBDURIError.exportName(.tooLong(bytes: 4097))) {
      try NBDURI("nbds://h/x" + longest)
    }
  }

  @Test(arguments: ["host", "/run/sock", "nbd0", "C:\\x", ""]) func notURIs(_ text: String) {
    #expect(!NBDURI.isURI(text))
  }
}
