# SPDX-License-Identifier: Apache-2.0
# What the scenarios share. The environment names the program (NBD_SECURE) and the certificates (PKI).
# shellcheck shell=bash
set -euo pipefail

bin=${NBD_SECURE:?} pki=${PKI:?}
work=$(mktemp -d)
cd "$work"
mkdir mnt
servers=()
port=10809

# The first thing that is wrong ends the scenario, with what one wants to know then.
fail() {
  trap - ERR
  set +e
  printf 'FAILED: %s\n' "$*"
  printf -- '-- processes\n'
  ps -eo pid,ppid,stat,wchan:20,args | grep -E 'nbd|dd|mkfs' | grep -v grep
  for log in "$work"/*.log /run/nbd-secure/*.json; do
    [ -s "$log" ] && printf -- '-- %s\n' "$log" && tail -n 15 "$log"
  done
  printf -- '-- kernel\n'
  dmesg | grep -iE 'nbd|I/O error|blk' | tail -n 15
  exit 1
}
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# has: like grep -q, but reads to the end: who writes to it must not fail because it left.
has() { grep "$@" >/dev/null; }

# serve [--psk] SIZE [NBDKIT-ARGUMENTS]: an nbdkit with a disk image, on the next port.
# Sets $port, $server and $image.
serve() {
  local tls=(--tls-certificates="$pki/server" --tls-verify-peer)
  if [ "$1" = --psk ]; then
    tls=(--tls-psk="$pki/psk/keys.psk")
    shift
  fi
  local size=$1
  shift
  port=$((port + 1))
  image=$work/disk-$port.img
  truncate -s "$size" "$image"
  start_server "${tls[@]}" "$@"
}

# start_server NBDKIT-ARGUMENTS: serves $image on $port. Options come before the plugin, the
# parameters of filters (KEY=VALUE) behind it.
start_server() {
  server_arguments=("$@")
  local options=() parameters=() argument
  for argument in "$@"; do
    case $argument in
      -*) options+=("$argument") ;;
      *) parameters+=("$argument") ;;
    esac
  done
  rm -f "$work/$port.pid"
  nbdkit -f -i 127.0.0.1 -p "$port" -P "$work/$port.pid" --tls=require "${options[@]}" \
    file "$image" "${parameters[@]}" 2>>"$work/nbdkit-$port.log" &
  server=$!
  servers+=("$server")
  # Its end is wanted at times, and no news.
  disown "$server"
  within 10 test -e "$work/$port.pid" || fail "nbdkit did not start"
}

# endpoint: the options for the last server, without credentials.
endpoint() { echo --hostname localhost --port "$port"; }

# attach [OPTIONS]: attaches the last server's export and sets $device; standard output must be
# the path and nothing else.
attach() {
  # shellcheck disable=SC2046
  device=$("$bin" --tls-creds "$pki/client" $(endpoint) "$@" 2>attach.log) ||
    fail "attach $*: status $?: $(cat attach.log)"
  [[ $device =~ ^/dev/nbd[0-9]+$ ]] || fail "attach printed: $device"
  [ -b "$device" ] || fail "$device is no block device"
}

# refused STATUS PATTERN COMMAND...: the command must fail with that status, print nothing on
# standard output, and say what matches PATTERN (an extended regular expression) in one line,
# with at most one hint behind; warnings before it are another matter.
refused() {
  local wanted=$1 pattern=$2 status=0
  shift 2
  "$@" >refused.out 2>refused.log || status=$?
  [[ "|$wanted|" == *"|$status|"* ]] || fail "$*: status $status, not $wanted: $(cat refused.log)"
  [ ! -s refused.out ] || fail "$*: printed on standard output: $(cat refused.out)"
  grep -qE "^nbd-secure: .*($pattern)" refused.log ||
    fail "$*: no '$pattern' in: $(cat refused.log)"
  if grep -vE '^(hint|nbd-secure): ' refused.log; then fail "$*: more than error and hint"; fi
  [ "$(grep -vE '^nbd-secure: warning: ' refused.log | grep -c '^nbd-secure: ')" = 1 ] ||
    fail "$*: not one line: $(cat refused.log)"
  [ "$(grep -c '^hint: ' refused.log)" -le 1 ] || fail "$*: more than one hint: $(cat refused.log)"
}

# told STATUS LINES COMMAND...: the command must fail with that status, print nothing on standard output,
# and say these lines, word for word.
told() {
  local wanted=$2
  refused "$1" '' "${@:3}"
  [ "$(cat refused.log)" = "$wanted" ] || fail "${*:3}: said: $(cat refused.log)"
}

# fill MIB: a file tree of random files in mnt, and its checksums in sums.
fill() {
  local each=$(($1 * 1048576 / 32))
  for i in $(seq 31); do
    mkdir -p "mnt/d$((i % 5))"
    head -c $((each - i)) /dev/urandom >"mnt/d$((i % 5))/f$i"
  done
  head -c $((each + 496)) /dev/urandom >mnt/last
  (cd mnt && find . -type f -print0 | sort -z | xargs -0 sha256sum) >sums
  [ "$(wc -l <sums)" = 32 ]
}

# verify: mnt holds exactly what fill wrote.
verify() {
  [ "$(find mnt -type f | wc -l)" = 32 ] || fail "files are missing"
  (cd mnt && sha256sum --quiet -c ../sums) || fail "data differ"
}

# unused NAME: the kernel has let go of the device.
unused() { [ ! -e "/sys/block/$1/pid" ] && [ "$(cat "/sys/block/$1/size" 2>/dev/null || echo 0)" = 0 ]; }

# supervisors: the process ids of the program, of which each supervisor has one device.
supervisors() { pgrep -x nbd-secure || true; }

# nothing_left: no process, no state, no device.
nothing_left() {
  within 20 no_supervisor || fail "still running: $(pgrep -ax nbd-secure)"
  local state
  state=$(find /run/nbd-secure -name '*.json' 2>/dev/null || true)
  [ -z "$state" ] || fail "state left behind: $state"
  local pid
  for pid in /sys/block/nbd*/pid; do
    [ ! -e "$pid" ] || fail "attached still: $pid"
  done
}
no_supervisor() { [ -z "$(supervisors)" ]; }

# restart_server [ARGUMENTS]: the last server again, on the same port, with the arguments that it had
# or with others.
restart_server() {
  if [ $# -gt 0 ]; then start_server "$@"; else start_server "${server_arguments[@]}"; fi
}

# kill_server: the last server dies as in a crash.
kill_server() {
  kill -KILL "$server"
  within 20 server_is_gone
}
server_is_gone() { ! kill -0 "$server" 2>/dev/null; }

# syslog: what the supervisors in the background log from now on goes to syslog.log.
syslog() {
  perl -MSocket -e '$| = 1; socket(S, PF_UNIX, SOCK_DGRAM, 0) && bind(S, sockaddr_un("/dev/log")) or die;
    while (defined recv(S, $line, 9000, 0)) { print "$line\n" }' >>"$work/syslog.log" &
  disown $!
  within 20 test -S /dev/log
}

# field NAME: a number or a string out of what status tells of $device.
field() {
  "$bin" status --json "$device" | sed -nE "s/^ *\"$1\" : \"?([^\"]*[^\",])\"?,?\$/\\1/p" | head -n 1
}

# state DEVICE: its state as status tells it.
state() { "$bin" status --json "$1" | sed -n 's/^ *"state" : "\(.*\)",*$/\1/p'; }
is_state() { [ "$(state "$1")" = "$2" ]; }

# reconnections DEVICE: how often it has been reconnected.
reconnections() { "$bin" status --json "$1" | sed -n 's/^ *"reconnections" : \([0-9]*\),*$/\1/p'; }

here=$(dirname "${BASH_SOURCE[0]}")
. "$here/waits.sh"
. "$here/load.sh"
. "$here/link.sh"
