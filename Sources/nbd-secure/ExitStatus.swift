// SPDX-License-Identifier: Apache-2.0
import NBDSecure

/// Exit status of the command, after sysexits.h where that has a word for it.
enum ExitStatus {
  static func of(_ code: NBDSecureError.Code) -> Int32 {
    switch code {
    case .other: 1
    case .usage: 64
    case .credentials: 66
    case .unknownHost: 68
    case .unavailable: 69
    case .kernel: 71
    case .io: 74
    case .timedOut: 75
    case .protocolViolation: 76
    case .identity: 77
    case .forbidden: 78
    }
  }
}
