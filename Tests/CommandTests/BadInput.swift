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
  // hosts and ports
  Mistake(64, ["info", "--hostname", ""], saying: "--hostname"),
  Mistake(64, ["info", "--port", "10809"], hinting: "--hostname"),
  Mistake(64, ["info", "--hostname", "localhost", "--port", "0"], saying: "port"),
  Mistake(64, ["info", "--hostname", "localhost", "--port", "65536"], saying: "port", "65536"),
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
