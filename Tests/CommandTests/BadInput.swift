// SPDX-License-Identifier: Apache-2.0
import TestSupport

/// One mistake, and what the program must say about it.
struct Mistake: Sendable, CustomStringConvertible {
  var arguments: [String]
  var status: Int32
  var saying: [String]
  var hinting: String?

  init(_ status: Int32, _ arguments: [String], saying: String..., hinting: String? = nil) {
    self.arguments = arguments
    self.status = status
    self.saying = saying
    self.hinting = hinting
  }

  var description: String {
    arguments.map { $0.count > 60 ? $0.prefix(20) + "…" : $0 }.joined(separator: " ")
  }
}

private let long = String(repeating: "x", count: 4097)
private let here = ["--hostname", "localhost", "--port", "1"]

/// Mistakes in the arguments alone: nothing is connected to, or even looked up.
let usageMistakes: [Mistake] = [
  // what is not there
  Mistake(64, ["info", "--no-such-option"], saying: "--no-such-option", hinting: "--help"),
  Mistake(64, ["--no-such-option"], saying: "--no-such-option"),
  Mistake(64, ["info", "--hostnam", "localhost"], saying: "--hostnam"),
  Mistake(64, ["info"], hinting: "--hostname"),
  Mistake(64, [], hinting: "--hostname"),
  Mistake(64, ["info", "--hostname"], saying: "--hostname"),
  Mistake(64, ["info", "nbds://localhost/", "nbds://localhost/"], saying: "nbds://localhost/"),
  Mistake(64, ["detach"], saying: "device"),
  Mistake(64, ["detach", "--all", "nbd0"], saying: "--all"),
  // slips of the pen
  Mistake(64, ["-hostname", "localhost"], saying: "-hostname", hinting: "--hostname"),
  Mistake(64, ["-vh"], saying: "-vh"),
  Mistake(64, ["info", "-hostname", "localhost"], saying: "-hostname", hinting: "--hostname"),
  Mistake(64, ["lst", "--hostname", "localhost"], saying: "lst", "no such verb", hinting: "list"),
  Mistake(64, ["stauts", "--json"], saying: "stauts", "no such verb", hinting: "status"),
  Mistake(64, ["/dev/nbd0"], saying: "/dev/nbd0", "verb", hinting: "detach /dev/nbd0"),
  Mistake(64, ["help", "nosuch"], saying: "nosuch", "no such verb"),
  Mistake(64, ["-vv", "info"] + here, saying: "info", "comes first", hinting: "info -vv"),
  Mistake(64, ["policy"], saying: "policy", hinting: "policy show"),
  Mistake(64, ["info", "--host", "localhost"], saying: "--host'", "mean --hostname?"),
  Mistake(64, [""], saying: "must not be empty"),
  Mistake(64, ["info", ""], saying: "must not be empty"),
  Mistake(64, ["detach", ""], saying: "must not be empty"),
  Mistake(64, ["status", ""], saying: "must not be empty"),
  Mistake(64, ["up", ""], saying: "must not be empty"),
  Mistake(64, ["down", ""], saying: "must not be empty"),
  Mistake(64, ["info", "--policy", ""] + here, saying: "--policy", "must not be empty"),
  Mistake(64, ["up", "../x"], saying: "../x"),
  // hosts and ports
  Mistake(
    64, ["info", "--hostname", "localhost:5"], saying: "localhost:5", "port",
    hinting: "--hostname localhost --port 5"),
  Mistake(
    64, ["info", "--hostname", "h", "--address", "127.0.0.1:5"], saying: "--address", "port",
    hinting: "--address 127.0.0.1 --port 5"),
  Mistake(
    64, ["info", "--hostname", "[::1]:5"], saying: "port", hinting: "--hostname [::1] --port 5"),
  Mistake(64, ["info", "--vsock", "4294967295"], saying: "--vsock", hinting: "2:10809"),
  Mistake(64, ["info", "--vsock", "+3"], saying: "--vsock"),
  Mistake(64, ["check", "--port", "5"], saying: "--port", "no server", hinting: "--hostname"),
  Mistake(64, ["check", "--connections", "0"], saying: "--connections"),
  Mistake(64, ["check", "--device", "sda"], saying: "sda"),
  Mistake(64, ["info", "--hostname", ""], saying: "--hostname", hinting: "certificate"),
  Mistake(64, ["info", "--port", "10809"], hinting: "--hostname"),
  Mistake(64, ["info", "--hostname", "localhost", "--port", "0"], saying: "port"),
  Mistake(
    64, ["info", "--hostname", "localhost", "--port", "65536"], saying: "port", "65536",
    hinting: "10809"),
  Mistake(64, ["info", "--hostname", "localhost", "--port", "-1"], saying: "port"),
  Mistake(64, ["info", "--hostname", "localhost", "--port", "nbd"], saying: "port", "nbd"),
  Mistake(64, ["info", "--hostname", "localhost", "--port", "10809x"], saying: "port"),
  Mistake(64, ["info", "--unix", "/run/nbd.sock", "--hostname", "localhost"], saying: "--unix"),
  Mistake(64, ["info", "--unix", "/run/nbd.sock", "--port", "10809"], saying: "--port"),
  Mistake(64, ["info", "--unix", "/run/nbd.sock", "--vsock", "2"], saying: "--vsock"),
  Mistake(64, ["info", "--unix", "/" + long], saying: "--unix"),
  Mistake(64, ["info", "--vsock", "two"], saying: "vsock"),
  // URIs
  Mistake(64, ["info", "http://localhost/"], saying: "http"),
  Mistake(64, ["info", "localhost"], saying: "localhost"),
  Mistake(64, ["info", "nbds://"], saying: "nbds://"),
  Mistake(64, ["info", "nbds:///disk"], saying: "host"),
  Mistake(64, ["info", "nbds://localhost:0/"], saying: "port"),
  Mistake(64, ["info", "nbds://localhost:65536/"], saying: "port"),
  Mistake(64, ["info", "nbds://localhost:x/"], saying: "port"),
  Mistake(64, ["info", "nbds://[::1/"], saying: "nbds://[::1/"),
  Mistake(64, ["info", "nbds://localhost/%zz"], saying: "%"),
  Mistake(64, ["info", "nbds://localhost/%00"]),
  Mistake(64, ["info", "nbds://localhost/?no-such-key=1"], saying: "no-such-key"),
  Mistake(64, ["info", "nbds://localhost/?tls-verify-peer=0"], saying: "tls-verify-peer"),
  Mistake(64, ["info", "nbds://localhost/?tls-type=none"], saying: "tls-type"),
  Mistake(64, ["info", "nbds+unix:///disk"], saying: "socket"),
  Mistake(64, ["info", "nbds://localhost/" + long], saying: "4096"),
  Mistake(64, ["info", "nbds://localhost/", "--hostname", "localhost"], saying: "--hostname"),
  Mistake(64, ["info", "nbds://localhost/", "--port", "10809"], saying: "--port"),
  Mistake(64, ["info", "nbds://localhost/", "--unix", "/run/nbd.sock"], saying: "--unix"),
  Mistake(64, ["info", "nbds://localhost/", "--vsock", "2"], saying: "--vsock"),
  // exports
  Mistake(64, ["info", "--export", long] + here, saying: "export", "4096"),
  Mistake(64, ["-x", long] + here, saying: "export", "4096"),
  // TLS
  Mistake(64, ["info", "--tls-min-version", "1.1"] + here, saying: "1.1"),
  Mistake(64, ["info", "--tls-min-version", "1.4"] + here, saying: "1.4"),
  Mistake(64, ["info", "--tls-priority", "NONE"] + here, saying: "--tls-priority"),
  Mistake(
    64, ["info", "--tls-priority", "NORMAL:-VERS-ALL:+VERS-TLS1.1"] + here, saying: "--tls-priority"
  ),
  Mistake(64, ["info", "--tls-priority", "NORMAL:+NO-SUCH"] + here, saying: "--tls-priority"),
  Mistake(
    64, ["info", "--tls-priority", "NORMAL:%VERIFY_ALLOW_BROKEN"] + here,
    saying: "--tls-priority", "%VERIFY_ALLOW_BROKEN"),
  Mistake(64, ["info", "--tls-pin", "sha256:12"] + here, saying: "--tls-pin"),
  Mistake(
    64, ["info", "--tls-pin", "md5:" + String(repeating: "0", count: 32)] + here,
    saying: "--tls-pin"),
  Mistake(
    64, ["info", "--tls-pin", "sha256:" + String(repeating: "g", count: 64)] + here,
    saying: "--tls-pin"),
  // numbers
  Mistake(64, ["info", "--connect-timeout", "0"] + here, saying: "--connect-timeout"),
  Mistake(64, ["info", "--connect-timeout", "1e-300"] + here, saying: "--connect-timeout"),
  Mistake(64, ["info", "--connect-timeout", "-1"] + here, saying: "--connect-timeout"),
  Mistake(64, ["info", "--connect-timeout", "soon"] + here, saying: "soon"),
  Mistake(64, ["info", "--connect-timeout", "nan"] + here, saying: "--connect-timeout"),
  Mistake(64, ["--io-timeout", "0"] + here, saying: "--io-timeout"),
  Mistake(64, ["--io-timeout", "inf"] + here, saying: "--io-timeout"),
  Mistake(64, ["--reconnect-timeout", "-1"] + here, saying: "--reconnect-timeout"),
  Mistake(64, ["--connections", "0"] + here, saying: "--connections"),
  Mistake(64, ["--connections", "100000"] + here, saying: "--connections"),
  Mistake(64, ["--block-size", "1000"] + here, saying: "--block-size"),
  Mistake(64, ["--block-size", "256"] + here, saying: "--block-size"),
  Mistake(64, ["--data-path", "warp"] + here, saying: "warp"),
  Mistake(64, ["--binding", "glue"] + here, saying: "glue"),
  // devices
  Mistake(64, ["--device", "sda"] + here, saying: "sda"),
  Mistake(64, ["--device", "/dev/nbd"] + here, saying: "/dev/nbd"),
  Mistake(64, ["--device", "nbd-1"] + here, saying: "nbd-1"),
  Mistake(64, ["--device", "nbd99999999999"] + here, saying: "nbd99999999999"),
  Mistake(64, ["detach", "/dev/sda"], saying: "/dev/sda"),
  Mistake(64, ["status", "/dev/sda"], saying: "/dev/sda"),
  Mistake(64, ["detach", "/dev/nbd0/../sda"], saying: "sda"),
]
