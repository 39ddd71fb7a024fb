# SPDX-License-Identifier: Apache-2.0
# Load on a file system of the device, and what it must leave behind. Sourced by lib.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154  # of lib.sh

# load SECONDS: works on files in mnt/load in the background, for so long: one load sends many requests
# at once past the page cache and verifies each soon after it wrote it; the other writes through the
# page cache, which afterwards still knows what the device must hold. Check with finish. Returns when
# both have their files and begin. Without serialize_overlap fio reads blocks back while it writes them
# anew, and calls what it then finds a mistake.
load() {
  local each
  mkdir -p mnt/load
  start_load direct "$1" --direct=1 --ioengine=libaio --iodepth=16 --serialize_overlap=1
  start_load cached "$1" --ioengine=psync
  for each in "${loads[@]}"; do
    within 60 test -e "$work/${each#*:}.begun" || fail "load ${each#*:} does not begin"
  done
}
start_load() {
  local name=$1 seconds=$2
  shift 2
  fio --name="$name" --directory=mnt/load --size=16M --rw=randrw --bsrange=4k-64k "$@" \
    --verify=crc32c --verify_backlog=64 --verify_fatal=1 --fsync=16 --time_based \
    --runtime="$seconds" --exec_prerun="touch $work/$name.begun" --output-format=normal,json \
    --output="$work/$name-fio.log" \
    >"$work/$name.log" 2>&1 &
  loads+=("$!:$name")
}
loads=()

# loaded: the loads still run, so that what happens next happens to them.
loaded() {
  local each
  for each in "${loads[@]}"; do
    kill -0 "${each%%:*}" 2>/dev/null || fail "load ${each#*:} has ended: $(tail -n 5 "$work/${each#*:}.log")"
  done
}

# completed DEVICE: how many requests have been answered.
completed() { awk '{print $1 + $5 + $12 + $16}' "/sys/block/${1#/dev/}/stat"; }

# moves DEVICE COUNT: so many requests are answered from now on; within a time that no fault of ours
# excuses.
moves() {
  local from
  from=$(completed "$1")
  within 60 has_moved "$1" $((from + $2)) || fail "I/O does not go on"
}
has_moved() { [ "$(completed "$1")" -ge "$2" ]; }

# end_load: tells the loads that it is enough; what they did is checked with finish.
end_load() {
  local each
  for each in "${loads[@]}"; do kill -INT "${each%%:*}" 2>/dev/null || true; done
}

# finish: waits for the loads, which must end without an error, and mounts the device anew: every
# file must be what it was. The loads' files go. Sets $pause, the longest time that a request of the
# load past the page cache took, in milliseconds.
finish() {
  local each log status
  for each in "${loads[@]}"; do
    log=$work/${each#*:}-fio.log status=0
    wait "${each%%:*}" || status=$?
    # 128: it was told to end.
    [ "$status" = 0 ] || [ "$status" = 128 ] ||
      fail "load ${each#*:} failed: $status: $(tail -n 5 "${log%-fio.log}.log")"
    grep -q '"error" : 0,' "$log" || fail "load ${each#*:} had errors"
    if grep '"error" : [1-9]' "$log"; then fail "load ${each#*:} had errors"; fi
    # What the loads say of each other's files is worth nothing unless they worked.
    [ "$(grep -oE '"total_ios" : [0-9]+' "$log" | head -n 1 | grep -oE '[0-9]+$')" -gt 0 ] ||
      fail "load ${each#*:} did nothing"
  done
  loads=()
  pause=$(grep -oE '"max" : [0-9]+' "$work/direct-fio.log" | grep -oE '[0-9]+$' | sort -n | tail -n 1)
  pause=$((pause / 1000000))
  if dmesg | grep -E 'I/O error|EXT4-fs (error|warning)|JBD2: Error|Aborting journal'; then
    fail "the kernel met errors"
  fi
  (cd mnt && find load -type f -print0 | sort -z | xargs -0 sha256sum) >load.sums
  [ "$(wc -l <load.sums)" = 2 ] || fail "files of the loads are missing"
  umount mnt
  mount "$device" mnt
  (cd mnt && sha256sum --quiet -c ../load.sums) || fail "what was written last is lost"
  rm -r mnt/load
  verify
}

# resources PROCESS: its descriptors, threads, and resident memory in KiB.
resources() {
  echo "$(find "/proc/$1/fd" -mindepth 1 | wc -l)" \
    "$(awk '/^Threads/ {t = $2} /^VmRSS/ {m = $2} END {print t, m}' "/proc/$1/status")"
}

# kept PROCESS BEFORE: its resources come back to what they were: no more descriptors and threads (a
# reconnection under way has some), and no more than 4 MiB of memory in addition.
kept() {
  local now before
  read -ra before <<<"$2"
  within 15 has_come_back "$1" || fail "leaked: $2, then $(resources "$1")"
  read -ra now < <(resources "$1")
  echo "descriptors, threads, resident KiB: $2 before, ${now[*]} after"
  [ $((now[2] - before[2])) -lt 4096 ] || fail "memory leaked: $2, then ${now[*]}"
}
has_come_back() {
  local now
  read -ra now < <(resources "$1")
  [ "${now[0]}" -le "${before[0]}" ] && [ "${now[1]}" -le "${before[1]}" ]
}
