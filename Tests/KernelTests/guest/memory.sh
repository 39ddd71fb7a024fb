# SPDX-License-Identifier: Apache-2.0
# A server in the guest whose memory is scarce. Sourced after lib.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154  # of lib.sh

# serve_in_memory: a disk of 256 MiB, from a server that takes no memory while it serves, as if it were
# on another host: the disk is allocated beforehand, and what the server has is small, locked, and not
# the OOM killer's.
serve_in_memory() {
  head -c 256M /dev/zero >"$work/disk-$((port + 1)).img"
  ulimit -S -s 256
  MALLOC_ARENA_MAX=1 serve 256M --swap --threads=4
  ulimit -S -s 8192
  echo -1000 >"/proc/$server/oom_score_adj"
}
