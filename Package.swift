// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

let strict: [SwiftSetting] = [
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// Tests run programs and read files with full Foundation; the strict rules are for what ships.
let testing: [SwiftSetting] = [.enableUpcomingFeature("ExistentialAny")]

let package = Package(
  name: "nbd-secure",
  products: [
    .library(name: "NBDSecure", targets: ["NBDSecure"]),
    .executable(name: "nbd-secure", targets: ["nbd-secure"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
  ],
  targets: [
    .target(name: "NBDProtocol", swiftSettings: strict),
    .systemLibrary(
      name: "CGnuTLSLibrary", pkgConfig: "gnutls", providers: [.apt(["libgnutls28-dev"])]),
    .target(name: "CGnuTLS", dependencies: ["CGnuTLSLibrary"]),
    .target(name: "CLinux"),
    .target(
      name: "LinuxIO",
      dependencies: ["CLinux", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: strict),
    .target(
      name: "TLS",
      dependencies: [
        "CGnuTLS", "LinuxIO", .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .target(
      name: "NBDKernel",
      dependencies: [
        "CLinux", "LinuxIO", .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .target(
      name: "NBDSecure",
      dependencies: [
        "NBDProtocol", "TLS", "NBDKernel", "LinuxIO", "CLinux",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "nbd-secure",
      dependencies: [
        "NBDSecure",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    // What the library's documentation shows.
    .executableTarget(
      name: "library-example", dependencies: ["NBDSecure"], path: "examples/library",
      swiftSettings: strict),
    .target(name: "CTestSupport", path: "Tests/CTestSupport"),
    .target(
      name: "TestSupport", dependencies: ["CTestSupport", "CGnuTLSLibrary"],
      path: "Tests/TestSupport",
      swiftSettings: testing + [.enableUpcomingFeature("InternalImportsByDefault")]),
    .testTarget(name: "NBDProtocolTests", dependencies: ["NBDProtocol"], swiftSettings: testing),
    .testTarget(name: "TLSTests", dependencies: ["TLS", "TestSupport"], swiftSettings: testing),
    .testTarget(
      name: "LinuxIOTests", dependencies: ["LinuxIO", "NBDKernel", "TestSupport"],
      swiftSettings: testing),
    .testTarget(
      name: "NBDSecureTests",
      dependencies: ["NBDSecure", "NBDProtocol", "LinuxIO", "NBDKernel", "TLS", "TestSupport"],
      swiftSettings: testing),
    .testTarget(name: "CommandTests", dependencies: ["TestSupport"], swiftSettings: testing),
    .testTarget(
      name: "InteropTests", dependencies: ["TestSupport", "library-example"],
      swiftSettings: testing),
    .testTarget(name: "HostileServerTests", dependencies: ["TestSupport"], swiftSettings: testing),
    // Drives NBDKernel alone, from the scripts that the guest runs.
    .executableTarget(
      name: "kernel-probe", dependencies: ["LinuxIO", "NBDKernel"], path: "Tests/KernelProbe",
      swiftSettings: testing),
    .testTarget(
      name: "KernelTests", dependencies: ["TestSupport", "kernel-probe"], exclude: ["guest"],
      swiftSettings: testing),
  ],
  cLanguageStandard: .gnu17
)

// What libFuzzer drives; see Tests/Fuzzing/run.
if Context.environment["NBD_SECURE_FUZZING"] != nil {
  package.products.append(.library(name: "Fuzzing", type: .static, targets: ["Fuzzing"]))
  package.targets.append(
    .target(
      name: "Fuzzing", dependencies: ["NBDSecure", "NBDProtocol", "NBDKernel", "TLS", "LinuxIO"],
      path: "Tests/Fuzzing", exclude: ["seeds", "run"], swiftSettings: testing))
}
