// SPDX-License-Identifier: Apache-2.0
// library-example URI CREDENTIALS FILE: saves an export to a file, over verified TLS.
import Glibc
import NBDSecure

/// Asks what the export is, shows whom it came from, and copies it.
func save(_ uri: String, credentials: String, to file: String) throws(NBDSecureError) {
  var options = ConnectionOptions()
  options.endpoint = uri
  options.tlsCredentials = credentials
  // Checked here: nothing invalid gets further, and nothing has been sent yet.
  let request = try ConnectionRequest(options)

  let export = try Inspection(request).info()
  print("\(export.server) has \(export.size) bytes")
  if let tls = export.tls { print("\(tls.version), \(tls.verifiedName ?? "a pre-shared key")") }

  var copy = CopyRequest(request, .download, file: file)
  copy.verify = true
  let report = try Copy(copy).run()
  print("copied \(report.size) bytes, verified")
}

let arguments = CommandLine.arguments.dropFirst()
guard arguments.count == 3 else {
  print("usage: library-example URI CREDENTIALS FILE")
  exit(64)
}
do {
  try save(arguments[1], credentials: arguments[2], to: arguments[3])
} catch {
  // One line that says what failed, and who must act.
  print("\(error.code): \(error.summary)")
  if let hint = error.hint { print("hint: \(hint)") }
  exit(1)
}
