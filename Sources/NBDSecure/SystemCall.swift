// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// Runs `body`; an `Errno` becomes an error that says what could not be done.
func system<T: ~Copyable>(
  _ what: String, code: NBDSecureError.Code = .other, _ body: () throws(Errno) -> T
) throws(NBDSecureError) -> T {
  do { return try body() } catch {
    throw NBDSecureError(code, "cannot \(what): \(error)", underlying: error)
  }
}
