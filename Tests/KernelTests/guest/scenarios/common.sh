# SPDX-License-Identifier: Apache-2.0
# Sourced by the scenarios. PROBE names the kernel-probe executable.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/../waits.sh"
PROBE=${PROBE:-$(dirname "${BASH_SOURCE[0]}")/../../../../.build/debug/kernel-probe}

failures=0
fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# has: like grep -q, but reads to the end: who writes to it must not fail because it left.
has() { grep "$@" >/dev/null; }

# expect WHAT WANTED GOT
expect() { [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"; }

# serve NAME [NBDKIT ARGUMENTS...]: a plain server on /tmp/NAME.sock
serve() {
  local name=$1
  shift
  nbdkit --unix "/tmp/$name.sock" --pidfile "/tmp/$name.pid" "$@"
  within 10 test -s "/tmp/$name.pid"
}

# stop NAME [SIGNAL]
stop() {
  kill "-${2:-KILL}" "$(cat "/tmp/$1.pid")"
  rm -f "/tmp/$1.sock" "/tmp/$1.pid"
}

finish() {
  [ "$failures" = 0 ] && echo "PASSED"
  exit $((failures != 0))
}
