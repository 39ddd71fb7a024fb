// SPDX-License-Identifier: Apache-2.0
import Foundation

/// Where this build put its programs: beside the test bundle.
package let buildDirectory: String = {
  var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
  let count = readlink("/proc/self/exe", &buffer, buffer.count)
  let path = String(
    decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  return URL(fileURLWithPath: path).deletingLastPathComponent().path
}()

/// Copies the program under test. By another process: a child of this one that begins meanwhile could hold
/// the copy open for writing, and then it does not run.
package func copyProgram(to path: String) throws {
  let seen = try run("cp", [nbdSecurePath, path])
  guard seen.status == 0 else { throw SystemError("copy the program", because: "\(seen)") }
}

/// The program under test: `NBD_SECURE` of the environment, else the one of this build.
package let nbdSecurePath =
  ProcessInfo.processInfo.environment["NBD_SECURE"] ?? buildDirectory + "/nbd-secure"

/// Runs the program under test.
package func nbdSecure(
  _ arguments: [String], environment: [String: String] = [:], input: [UInt8] = [],
  timeout: Double = 30 * patience
) throws -> Outcome {
  try run(nbdSecurePath, arguments, environment: environment, input: input, timeout: timeout)
}

/// Fails where this machine has credentials of its own, which the program would find.
package func needsNoCredentialsOfTheHost() throws {
  guard access("/etc/nbd-secure/pki", F_OK) != 0 else {
    throw SystemError("/etc/nbd-secure/pki", because: "it is there: move it away for this test")
  }
}

/// Runs the program under test.
package func nbdSecure(_ arguments: String..., timeout: Double = 30 * patience) throws -> Outcome {
  try nbdSecure(arguments, timeout: timeout)
}
