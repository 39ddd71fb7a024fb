// SPDX-License-Identifier: Apache-2.0
import Glibc
import LinuxIO
import SystemPackage

/// A path that stays right when the working directory changes.
func absolutePath(_ path: String) -> String {
  guard !path.hasPrefix("/"), let here = unsafe getcwd(nil, 0) else { return path }
  defer { unsafe free(here) }
  return "\(unsafe String(cString: here))/\(path)"
}

/// Whether something of this name exists, of whatever kind, or cannot be looked at.
func fileExists(_ path: String) -> Bool {
  do {
    // A dangling link is something that was meant to be there.
    _ = try FileFacts(path: path, followLinks: false)
    return true
  } catch {
    // What exists but cannot be read is told when it is loaded; it is never taken for absent.
    return error != .noSuchFileOrDirectory && error != .notDirectory
  }
}

/// Whether the names in a directory can be looked up.
func isSearchable(_ directory: String) -> Bool { unsafe access(directory, X_OK) == 0 }

/// A path without symbolic links; nil where it does not exist.
func realPath(_ path: String) -> String? {
  guard let resolved = unsafe realpath(path, nil) else { return nil }
  defer { unsafe free(resolved) }
  return unsafe String(cString: resolved)
}

/// Where a path leads that ends in symbolic links to what does not exist; the path itself where it
/// is no link, or one in a circle.
func targetOfLinks(_ path: String) -> String {
  var path = path
  for _ in 0..<40 {
    guard let next = try? readLink(path) else { return path }
    path =
      next.hasPrefix("/")
      ? next : FilePath(path).removingLastComponent().appending(next).string
  }
  return path
}
