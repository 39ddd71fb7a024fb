// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What something takes of this thread's processor time, in seconds: a busy machine does not change it,
/// so that the growth of an algorithm can be seen on one. A machine that is stopped itself may count that
/// as work: the least of three counts.
func processorTime(of work: () throws -> Void) rethrows -> Double {
  var least = Double.infinity
  for _ in 0..<3 {
    let start = processorTime()
    try work()
    least = min(least, processorTime() - start)
  }
  return least
}

private func processorTime() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
