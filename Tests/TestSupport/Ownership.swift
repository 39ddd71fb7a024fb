// SPDX-License-Identifier: Apache-2.0
import CTestSupport
import Foundation

/// A user who is neither root nor the caller.
private let nobody: uid_t = 65534

/// Gives a file or directory to somebody else for as long as the body runs. Only root can: where the
/// tests run as another user, sudo must be able to. Neither is an error, never a reason to skip.
package func givenAway<Result>(_ path: String, _ body: () throws -> Result) throws -> Result {
  try change(path, to: nobody)
  defer { try? change(path, to: geteuid()) }
  return try body()
}

private func change(_ path: String, to user: uid_t) throws {
  if lchown(path, user, user) == 0 { return }
  let done = try run("sudo", ["-n", "chown", "-h", "\(user):\(user)", path])
  guard done.status == 0 else {
    throw SystemError(
      "chown \(path)", because: "run the tests as root, or where sudo asks for no password")
  }
}

/// Opens files as somebody else would while the body runs, root's rights left behind; for any other
/// user than root nothing changes. The calling thread alone: the body must stay on it.
package func withoutRights<Result>(_ body: () throws -> Result) throws -> Result {
  guard geteuid() == 0 else { return try body() }
  // It never fails by its own account; asked once more, it says who it is now.
  tests_setfsuid(nobody)
  defer { tests_setfsuid(0) }
  guard tests_setfsuid(nobody) == nobody else {
    throw SystemError("setfsuid", because: "root's rights cannot be left behind")
  }
  return try body()
}
