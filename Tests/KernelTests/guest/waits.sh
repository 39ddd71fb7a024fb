# SPDX-License-Identifier: Apache-2.0
# How long things may take. Sourced by lib.sh, by scenarios/common.sh and by the package's
# tests, which define fail.
# shellcheck shell=bash

# How many times longer than on a quiet machine anything may take: several guests share the processors
# with other tests, and a guest may stand still for seconds. Promptness is told from hanging, no more.
patience=5

# within SECONDS COMMAND...: repeats the command until it succeeds; so long on a quiet machine.
within() {
  local end=$((SECONDS + $1 * patience))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# becomes NAME PID: waits until a process has become that program: until then it is the shell that
# began it, which has opened what it was told to.
becomes() {
  within 10 grep -qx -- "$1" "/proc/$2/comm" || fail "process $2 is $(cat "/proc/$2/comm"), not $1"
}

# bounded SECONDS COMMAND...: the command's own status; a failure of the scenario when it takes longer,
# on a quiet machine.
bounded() {
  local limit=$(($1 * patience)) status=0
  shift
  timeout --kill-after=2 "$limit" "$@" || status=$?
  [ "$status" != 124 ] && [ "$status" != 137 ] || fail "not done after $limit s: $*"
  return "$status"
}

# in_time SECONDS BEGIN: no more have passed since BEGIN, a value of $SECONDS, on a quiet machine.
in_time() {
  local took=$((SECONDS - $2))
  [ "$took" -le $(($1 * patience)) ] || fail "it took $took s, not $1"
}
