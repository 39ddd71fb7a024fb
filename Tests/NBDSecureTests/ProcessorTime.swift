// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What this thread has computed so far, in seconds of processor time: a busy machine does not change
/// it, so that the growth of an algorithm can be seen on one.
func processorTime() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
