// SPDX-License-Identifier: Apache-2.0

/// A text without the passwords of the URIs in it: a URI cannot hold one, and who puts one in all
/// the same must not find it in a log.
package func withoutSecrets(_ text: String) -> String {
  var rest = text[...]
  var result = ""
  while let start = rest.firstRange(of: "://") {
    result += rest[..<start.upperBound]
    rest = rest[start.upperBound...]
    let authority = rest.prefix { !"/?# ".contains($0) }
    guard let at = authority.lastIndex(of: "@"), let colon = authority[..<at].firstIndex(of: ":")
    else { continue }
    result += "\(authority[..<colon]):…"
    rest = rest[at...]
  }
  return result + rest
}
