// SPDX-License-Identifier: Apache-2.0

/// A table while a file is being read: who defined it decides what may still be added.
final class TOMLTree {
  enum Origin {
    /// `[a.b]` made `a`: may be defined once itself.
    case implicit
    /// Its own header, or an element of `[[a]]`.
    case header
    /// `a.b = 1` made `a`: only dotted keys of the same table may add to it.
    case dotted
  }

  enum Node {
    case value(TOMLValue)
    case table(TOMLTree)
    case tables([TOMLTree])
  }

  private(set) var entries: [String: Node] = [:]
  private var origin: Origin
  let line: Int

  init(_ origin: Origin, line: Int) {
    self.origin = origin
    self.line = line
  }

  /// `[a.b.c]`: the table to fill; `[[a.b.c]]`: a new element.
  func open(_ keys: [String], isElement: Bool, line: Int) throws(TOMLError) -> TOMLTree {
    var tree = self
    for key in keys.dropLast() { tree = try tree.descend(key, making: .implicit, line) }
    guard let last = keys.last else { return tree }
    return isElement
      ? try tree.append(last, line: line) : try tree.define(last, line: line)
  }

  private func append(_ key: String, line: Int) throws(TOMLError) -> TOMLTree {
    let fresh = TOMLTree(.header, line: line)
    switch entries.removeValue(forKey: key) {
    case nil: entries[key] = .tables([fresh])
    case .tables(var others):
      others.append(fresh)
      entries[key] = .tables(others)
    default: throw TOMLError(line: line, reason: "\(Self.quoted(key)) is defined already")
    }
    return fresh
  }

  private func define(_ key: String, line: Int) throws(TOMLError) -> TOMLTree {
    switch entries[key] {
    case nil:
      let fresh = TOMLTree(.header, line: line)
      entries[key] = .table(fresh)
      return fresh
    case .table(let table) where table.origin == .implicit:
      table.origin = .header
      return table
    default: throw TOMLError(line: line, reason: "\(Self.quoted(key)) is defined already")
    }
  }

  /// `a.b.c = value`.
  func set(_ keys: [String], to value: TOMLValue) throws(TOMLError) {
    var tree = self
    for key in keys.dropLast() { tree = try tree.descend(key, making: .dotted, value.line) }
    guard let last = keys.last else { return }
    guard tree.entries[last] == nil else {
      throw TOMLError(line: value.line, reason: "\(Self.quoted(last)) is defined already")
    }
    tree.entries[last] = .value(value)
  }

  /// The finished table.
  var value: TOMLValue {
    TOMLValue(
      kind: .table(
        entries.mapValues { node in
          switch node {
          case .value(let value): value
          case .table(let table): table.value
          case .tables(let tables):
            TOMLValue(kind: .array(tables.map(\.value)), line: tables.first?.line ?? line)
          }
        }), line: line)
  }

  private func descend(
    _ key: String, making origin: Origin, _ line: Int
  ) throws(TOMLError) -> TOMLTree {
    switch entries[key] {
    case nil:
      let made = TOMLTree(origin, line: line)
      entries[key] = .table(made)
      return made
    case .table(let table) where origin == .implicit || table.origin == .dotted: return table
    case .tables(let tables) where origin == .implicit:
      if let last = tables.last { return last }
    default: break
    }
    throw TOMLError(line: line, reason: "\(Self.quoted(key)) cannot be added to")
  }

  private static func quoted(_ key: String) -> String { "\"\(key.prefix(80))\"" }
}
