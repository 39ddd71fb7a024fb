// SPDX-License-Identifier: Apache-2.0
import LinuxIO
import NBDKernel

/// What this kernel can do for an attachment, and what of it this process may use.
public struct KernelReport: Encodable, Sendable, Hashable {
  /// One version and cipher of kernel TLS.
  public struct KernelTLSSupport: Encodable, Sendable, Hashable {
    public let version: String
    public let cipher: String
    public let works: Bool
    /// Why it does not work.
    public let reason: String?
  }

  public let release: String
  /// Whether this process may attach devices: root, and CAP_SYS_ADMIN.
  public let mayAttach: Bool
  /// Whether the nbd driver is there.
  public let driver: Bool
  /// Whether it has its netlink interface.
  public let netlink: Bool
  public let kernelTLS: [KernelTLSSupport]
  /// Whether memory reclaim can be told not to wait for this process (CAP_SYS_RESOURCE).
  public let ioFlusher: Bool
  /// Whether the relay's memory can be locked (CAP_IPC_LOCK or RLIMIT_MEMLOCK).
  public let lockedMemory: Bool
  /// Bytes.
  public let maximumBlockSize: UInt32
}

extension CheckReport {
  /// About what a relay with its buffers locks, without its unflushed writes, bytes.
  private static let relayMemory: UInt64 = 64 << 20

  /// Asks the kernel. Loads the modules that an attachment would load, where that is allowed.
  mutating func examineKernel(for request: AttachRequest?) {
    let isRoot = ThisProcess.effectiveUser == 0
    let interface = KernelSupport.netlink
    let window = UInt64(request?.flushWindow ?? AttachRequest.defaultFlushWindow) << 20
    let kernel = KernelReport(
      release: KernelSupport.release, mayAttach: isRoot && KernelSupport.mayConnect,
      driver: KernelSupport.hasDriver, netlink: (try? interface.get()) != nil,
      kernelTLS: KernelSupport.kernelTLS().map { version, cipher, support in
        KernelReport.KernelTLSSupport(
          version: version.text, cipher: cipher.text, works: support == .works,
          reason: support.reason)
      },
      ioFlusher: KernelSupport.mayFlush,
      lockedMemory: KernelSupport.mayLock(bytes: Self.relayMemory + window),
      maximumBlockSize: KernelSupport.maximumBlockSize)
    self.kernel = kernel
    if !isRoot {
      note(
        .kernel, .warning, "not root: attaching a device needs it",
        hint: "as root, check also says what the kernel would then allow")
    } else if !kernel.mayAttach {
      fail(.kernel, NBDSecureError(.kernel, "root without CAP_SYS_ADMIN cannot attach devices"))
    }
    examineDriver(kernel, interface, request)
    examineRights(kernel, isRoot: isRoot)
    examineKernelTLS(kernel, request)
    examineDevice(request)
  }

  private mutating func examineDriver(
    _ kernel: KernelReport, _ interface: Result<Void, KernelError>, _ request: AttachRequest?
  ) {
    let release = "Linux \(kernel.release)"
    guard case .failure(let error) = interface else {
      return note(.kernel, .ok, "\(release): nbd driver with netlink interface")
    }
    let mayWait = error.kind == .noDriver && ThisProcess.effectiveUser != 0
    if mayWait {
      note(
        .kernel, .warning, "\(release): the nbd driver is not loaded, which takes root",
        hint: error.hint)
    } else if kernel.driver, request?.binding != .netlink {
      note(
        .kernel, .warning,
        "\(release): \(error.message); ioctls bind the device, which then ends with its process")
    } else {
      fail(.kernel, NBDSecureError(error))
    }
  }

  private mutating func examineRights(_ kernel: KernelReport, isRoot: Bool) {
    for (has, what, needs) in [
      (
        kernel.ioFlusher, "PR_SET_IO_FLUSHER and protection from the OOM killer", "CAP_SYS_RESOURCE"
      ),
      (kernel.lockedMemory, "locked memory", "CAP_IPC_LOCK or a higher RLIMIT_MEMLOCK"),
    ] {
      if has {
        note(.kernel, .ok, what)
      } else {
        note(
          .kernel, isRoot ? .warning : .note,
          "no \(what): it needs \(needs)" + (isRoot ? "" : ", which root has"))
      }
    }
    note(.kernel, .ok, "blocks of up to \(kernel.maximumBlockSize) bytes")
  }

  private mutating func examineKernelTLS(_ kernel: KernelReport, _ request: AttachRequest?) {
    for version in KernelTLS.Version.allCases.map(\.text) {
      let all = kernel.kernelTLS.filter { $0.version == version }
      let works = all.filter(\.works).map(\.cipher)
      let lacks = all.filter { !$0.works }
      if !works.isEmpty {
        note(.kernel, .ok, "kernel TLS \(version): \(works.joined(separator: ", "))")
      }
      // Those that lack for one reason are told as one.
      for reason in Set(lacks.compactMap(\.reason)).sorted() {
        let ciphers = lacks.filter { $0.reason == reason }.map(\.cipher)
        note(
          .kernel, .note,
          "no kernel TLS \(version) with \(ciphers.joined(separator: ", ")): \(reason)",
          hint: reason == KernelTLS.Support.noModule.reason && request?.dataPath == .ktls
            ? "modprobe tls" : nil)
      }
    }
    if request?.dataPath == .ktls, !kernel.kernelTLS.contains(where: \.works) {
      fail(
        .kernel,
        NBDSecureError(
          .kernel, "--data-path ktls: \(kernel.kernelTLS.first?.reason ?? "no kernel TLS")",
          hint: "--data-path relay works without it"))
    }
  }

  /// The device that was asked for, or the one that this export has already.
  private mutating func examineDevice(_ request: AttachRequest?) {
    guard let request else { return }
    do throws(NBDSecureError) {
      if let present = try Presence().attachment(of: request) {
        return note(.kernel, .note, "attached already as \(present.path)")
      }
      guard let wanted = request.device.flatMap({ DeviceIndex($0) }) else { return }
      try Binder.checkPresence(of: wanted)
      if Sysfs().isConnected(wanted) {
        throw NBDSecureError(.kernel, "\(wanted.path): in use by another attachment")
      }
    } catch { fail(.kernel, error) }
  }
}

extension KernelTLS.Version {
  fileprivate var text: String {
    switch self {
    case .tls12: "1.2"
    case .tls13: "1.3"
    }
  }
}

extension KernelTLS.Cipher {
  /// As GnuTLS names it.
  fileprivate var text: String {
    switch self {
    case .aes128GCM: "AES-128-GCM"
    case .aes256GCM: "AES-256-GCM"
    case .chacha20Poly1305: "CHACHA20-POLY1305"
    }
  }
}
