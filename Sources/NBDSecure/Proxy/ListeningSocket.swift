// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import SystemPackage

/// A Unix socket that local clients connect to, and its file.
///
/// A lock beside it (PATH.lock) is held for as long as the socket is served, so that of two proxies
/// which find the file of a dead one only one replaces it.
struct ListeningSocket: ~Copyable {
  /// What sockaddr_un holds, its NUL left out.
  static let longestPath = 107

  /// Non-blocking.
  let descriptor: Descriptor
  private let path: String
  private let inode: UInt64
  private let lock: LockFile

  /// Listens at `path`; the socket is never more open than `mode`. The file of a dead server is
  /// replaced.
  ///
  /// - Throws: `NBDSecureError`; a path that is served, or that is no socket, is left alone.
  static func listen(at path: String, mode: UInt32) throws(NBDSecureError) -> ListeningSocket {
    let lock = try lock(path)
    do throws(NBDSecureError) {
      try makeWay(at: path)
      let descriptor = try bind(path, mode: mode)
      let inode = (try? FileFacts(path: path, followLinks: false))?.inode ?? 0
      return ListeningSocket(descriptor: descriptor, path: path, inode: inode, lock: lock)
    } catch {
      _ = try? removeFile(lockPath(of: path))
      throw error
    }
  }

  private init(
    descriptor: consuming Descriptor, path: String, inode: UInt64, lock: consuming LockFile
  ) {
    self.descriptor = descriptor
    self.path = path
    self.inode = inode
    self.lock = lock
  }

  private static func lockPath(of path: String) -> String { path + ".lock" }

  private static func lock(_ path: String) throws(NBDSecureError) -> LockFile {
    let file = lockPath(of: path)
    do {
      if let lock = try LockFile.acquire(file, mode: 0o600) { return lock }
    } catch { throw failure(path, "cannot lock \(file): \(error)", error) }
    let holder = (try? LockFile.holder(of: file)) ?? nil
    throw inUse(path, by: holder.map { "process \($0)" } ?? "another process")
  }

  private static func bind(_ path: String, mode: UInt32) throws(NBDSecureError) -> Descriptor {
    do { return try listenUnix(path: path, mode: mode) } catch {
      throw failure(path, "cannot listen: \(error)", error)
    }
  }

  /// Says early what would make `init` fail.
  static func check(_ path: String) throws(NBDSecureError) { _ = try isStale(path) }

  /// Removes the socket's file, if it is still ours.
  consuming func remove() {
    if (try? FileFacts(path: path, followLinks: false))?.inode == inode {
      _ = try? removeFile(path)
    }
    // While it is still held, so that nobody waits for a file that is gone.
    _ = try? removeFile(Self.lockPath(of: path))
  }

  private static func makeWay(at path: String) throws(NBDSecureError) {
    guard try isStale(path) else { return }
    do { _ = try removeFile(path) } catch {
      throw failure(path, "cannot replace the socket of a proxy that died: \(error)", error)
    }
  }

  /// Whether there is a socket that nobody serves; false where there is nothing.
  private static func isStale(_ path: String) throws(NBDSecureError) -> Bool {
    let facts: FileFacts
    do { facts = try FileFacts(path: path, followLinks: false) } catch .noSuchFileOrDirectory {
      return false
    } catch { throw failure(path, "cannot be looked at: \(error)", error) }
    guard facts.isSocket else {
      throw NBDSecureError(
        .other, "--listen \(path): exists and is not a socket", hint: "remove it, or choose another"
      )
    }
    do {
      _ = try connectStream(to: .unix(path: path), deadline: .after(seconds: 1))
    } catch .connectionRefused {
      return true
    } catch .noSuchFileOrDirectory {
      return false
    } catch .timedOut {
      throw inUse(path, by: "another process")
    } catch { throw failure(path, "cannot tell whether it is in use: \(error)", error) }
    throw inUse(path, by: "another process")
  }

  private static func inUse(_ path: String, by whom: String) -> NBDSecureError {
    NBDSecureError(
      .other, "--listen \(path): in use by \(whom)",
      hint: "choose another path, or end that process")
  }

  private static func failure(_ path: String, _ why: String, _ errno: Errno) -> NBDSecureError {
    NBDSecureError(.other, "--listen \(path): \(why)", underlying: errno)
  }
}
