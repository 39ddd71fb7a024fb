# SPDX-License-Identifier: Apache-2.0
# What a supervisor says of its link to the server. Sourced by lib.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154  # of lib.sh

# link_refused MESSAGE: the attempts to connect again fail with this message, which status and the log
# tell (see syslog), and go on. The server must have been lost before.
link_refused() {
  local message=$1 attempts
  # Whatever was said of others before, an attempt that began now must have met this one.
  for _ in 1 2; do
    attempts=$(field attempts)
    within 30 attempts_exceed "$attempts" || fail "no attempts: $("$bin" status --json "$device")"
  done
  within 10 last_error_begins "$message" ||
    fail "wanted '$message': $("$bin" status --json "$device" | grep lastError)"
  is_state "$device" reconnecting || fail "state: $(state "$device")"
  grep -F '<28>' syslog.log | has -F "$device: cannot reconnect: $message" ||
    fail "not logged: $message"
}
attempts_exceed() { [ "$(field attempts)" -gt "$1" ]; }
last_error_begins() { "$bin" status --json "$device" | has -F "\"lastError\" : \"$1"; }

# lost: the supervisor has noticed that the server, which was just killed, is gone.
lost() { within 10 is_state "$device" reconnecting || fail "not lost: $(state "$device")"; }

# link_accepted: the device works again.
link_accepted() {
  within 30 is_state "$device" connected || fail "not accepted: $("$bin" status --json "$device")"
}
