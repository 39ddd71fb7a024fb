// SPDX-License-Identifier: Apache-2.0
import SystemPackage

extension PolicySet {
  /// Reads the host's policy and any further files. What is missing on the host is no policy;
  /// what is there and cannot be trusted or understood throws, and then nothing is allowed.
  ///
  /// - Parameters:
  ///   - hostFile: may be missing. The directory it is in must be safe as well: who can write
  ///     there can take the file away.
  ///   - hostDirectory: may be missing; the same holds. Its `*.toml`, without hidden files,
  ///     in byte order.
  ///   - extra: `--policy`; these must be there.
  public static func load(
    hostFile: String = "/etc/nbd-secure/policy.toml",
    hostDirectory: String = "/etc/nbd-secure/policy.d",
    extra: [String] = []
  ) throws(PolicyError) -> PolicySet {
    var paths: [String] = []
    try checkParent(of: hostFile)
    if try PolicyStorage.isPresent(hostFile) { paths.append(hostFile) }
    try checkParent(of: hostDirectory)
    if try PolicyStorage.isPresent(hostDirectory) {
      try PolicyStorage.checkDirectory(hostDirectory)
      paths += try PolicyStorage.policyFiles(in: hostDirectory)
    }
    var files: [PolicyFile] = []
    for path in paths + extra {
      let text = try PolicyStorage.read(path)
      files.append(
        try PolicyFile(parsing: text, path: path, canonical: PolicyStorage.canonicalPath))
    }
    return PolicySet(files: files)
  }

  private static func checkParent(of path: String) throws(PolicyError) {
    let parent = FilePath(path).removingLastComponent().string
    let directory = parent.isEmpty ? "." : parent
    if try PolicyStorage.isPresent(directory) { try PolicyStorage.checkDirectory(directory) }
  }
}
