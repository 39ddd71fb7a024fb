# SPDX-License-Identifier: Apache-2.0
#
# Raw runs (round, subject, workload, key=value...) to a table, the JSON file
# named by -v json=FILE, and the ratios of paired runs against the figures to
# reach.

BEGIN {
  FS = "\t"
  fields = split("mib_s iops cpu_s_per_gib p50_us p99_us syscalls_per_mib peak_rss_mib", field, " ")
}

{
  key = $2 SUBSEP $3
  if (!(key in seen)) { seen[key] = 1; order[++keys] = key }
  for (i = 4; i <= NF; i++) {
    split($i, pair, "=")
    # A run that counted system calls gives nothing else.
    if (/syscalls_per_mib/ && pair[1] != "syscalls_per_mib") continue
    value[key, pair[1], $1] = pair[2]
    n = ++count[key, pair[1]]
    list[key, pair[1], n] = pair[2]
  }
  if ($1 > rounds) rounds = $1
}

# Sorts x[1..n] and leaves median, low and high.
function summarize(n,   i, j, t) {
  for (i = 2; i <= n; i++) {
    t = x[i]
    for (j = i - 1; j >= 1 && x[j] > t; j--) x[j + 1] = x[j]
    x[j + 1] = t
  }
  low = x[1]; high = x[n]
  median = n % 2 ? x[(n + 1) / 2] : (x[n / 2] + x[n / 2 + 1]) / 2
}

function summary(key, f,   i, n) {
  n = count[key, f]
  if (!n) return 0
  for (i = 1; i <= n; i++) x[i] = list[key, f, i] + 0
  summarize(n)
  return n
}

function shown(key, f, format) { return summary(key, f) ? sprintf(format, median) : "-" }

# The paired ratio of A's to B's figure, round by round.
function ratio(a, b, w, f,   r, n) {
  n = 0
  for (r = 1; r <= rounds; r++)
    if (((a, w, f, r) in value) && ((b, w, f, r) in value) && value[b, w, f, r] > 0)
      x[++n] = value[a, w, f, r] / value[b, w, f, r]
  if (n) summarize(n)
  return n
}

function verdict(m, reach, beyond, most) {
  if (most) return m <= beyond ? "beyond" : m <= reach ? "reached" : "MISSED"
  return m >= beyond ? "beyond" : m >= reach ? "reached" : "MISSED"
}

function goal(text, a, b, w, f, most, reach, beyond) {
  if (!ratio(a, b, w, f)) return
  printf "%-44s %-17s %6.2f  [%.2f %.2f]  %s %-5s %-5s %s\n", text, w, median, low, high,
    most ? "<=" : ">=", reach, beyond, verdict(median, reach, beyond, most)
}

function absolute(text, a, w, f, reach, beyond) {
  if (!summary(a SUBSEP w, f)) return
  printf "%-44s %-17s %6.1f  %15s<= %-5s %-5s %s\n", text, w, median, "", reach, beyond,
    verdict(median, reach, beyond, 1)
}

# What a process has besides the buffers of its one connection: those are what each of three further
# connections adds.
function beyond_buffers(text, one, four, w, reach,   m1, m4) {
  if (!summary(one SUBSEP w, "peak_rss_mib")) return
  m1 = median
  if (!summary(four SUBSEP w, "peak_rss_mib")) return
  m4 = median
  m1 -= (m4 - m1) / 3
  printf "%-44s %-17s %6.1f  %15s<= %-5s %-5s %s\n", text, w, m1, "", reach, "",
    m1 <= reach ? "reached" : "MISSED"
}

END {
  print "[" > json
  for (k = 1; k <= keys; k++) {
    split(order[k], id, SUBSEP)
    printf "  {\"subject\": \"%s\", \"workload\": \"%s\"", id[1], id[2] > json
    lows = highs = ""
    runs = 0
    for (i = 1; i <= fields; i++) {
      f = field[i]
      if (n = summary(order[k], f)) {
        if (n > runs) runs = n
        printf ", \"%s\": %.10g", f, median > json
        lows = lows sprintf("%s\"%s\": %.10g", lows == "" ? "" : ", ", f, low)
        highs = highs sprintf("%s\"%s\": %.10g", highs == "" ? "" : ", ", f, high)
      } else {
        printf ", \"%s\": null", f > json
      }
    }
    printf ", \"runs\": %d, \"min\": {%s}, \"max\": {%s}}%s\n", runs, lows, highs,
      k < keys ? "," : "" > json
  }
  print "]" > json
  close(json)

  workloads = 0
  for (k = 1; k <= keys; k++) {
    split(order[k], id, SUBSEP)
    if (!(id[2] in known)) { known[id[2]] = 1; names[++workloads] = id[2] }
  }
  for (w = 1; w <= workloads; w++) {
    printf "\n%-24s %8s %9s %9s %9s %9s %9s %8s\n", names[w], "MiB/s", "IOPS", "CPU s/GiB",
      "p50 us", "p99 us", "calls/MiB", "RSS MiB"
    for (k = 1; k <= keys; k++) {
      split(order[k], id, SUBSEP)
      if (id[2] != names[w]) continue
      key = order[k]
      printf "  %-22s %8s %9s %9s %9s %9s %9s %8s\n", id[1], shown(key, "mib_s", "%.0f"),
        shown(key, "iops", "%.0f"), shown(key, "cpu_s_per_gib", "%.3f"),
        shown(key, "p50_us", "%.1f"), shown(key, "p99_us", "%.1f"),
        shown(key, "syscalls_per_mib", "%.1f"), shown(key, "peak_rss_mib", "%.1f")
    }
  }

  us = "nbd-secure"; them = "nbd-client"
  printf "\n%-44s %-17s %6s  %-13s %8s %-5s\n", "median of paired ratios", "workload", "is",
    "[min max]", "reach", "beyond"
  goal("CPU / nbd-client", us, them, "read-128k-q16", "cpu_s_per_gib", 1, 0.55, 0.45)
  goal("CPU / nbd-client", us, them, "write-128k-q16", "cpu_s_per_gib", 1, 0.65, 0.55)
  goal("throughput / nbd-client", us, them, "read-128k-q16", "mib_s", 0, 1.7, 2.0)
  goal("throughput / nbd-client", us, them, "write-128k-q16", "mib_s", 0, 1.3, 1.5)
  goal("CPU / GnuTLS alone", us, "gnutls-limit", "read-128k-q16", "cpu_s_per_gib", 1, 2.1, 1.8)
  goal("CPU / GnuTLS alone", us, "gnutls-limit", "write-128k-q16", "cpu_s_per_gib", 1, 2.7, 2.3)
  goal("IOPS / nbd-client", us, them, "randread-4k-q16", "iops", 0, 2.3, 2.9)
  goal("IOPS / plain", us, "plain", "randread-4k-q16", "iops", 0, 0.8, 0.95)
  goal("IOPS / nbd-client", us, them, "randread-4k-q64", "iops", 0, 2.8, 3.4)
  goal("IOPS / nbd-client", us, them, "randwrite-4k-q16", "iops", 0, 1.5, 1.8)
  goal("p50 / plain", us, "plain", "randread-4k-q1", "p50_us", 1, 1.35, 1.2)
  goal("p50 / nbd-client", us, them, "randread-4k-q1", "p50_us", 1, 1.0, 0.9)
  absolute("system calls for each MiB", us, "read-128k-q16", "syscalls_per_mib", 100, 60)
  absolute("system calls for each MiB", us, "write-128k-q16", "syscalls_per_mib", 40, 25)
  beyond_buffers("resident MiB beyond its buffers", us, "nbd-secure-c4", "write-128k-q16", 20)
  goal("CPU, PSK / x509", "nbd-secure-psk", us, "read-128k-q16", "cpu_s_per_gib", 1, 1.1, 1.0)
  goal("CPU, PSK / x509", "nbd-secure-psk", us, "write-128k-q16", "cpu_s_per_gib", 1, 1.1, 1.0)
  goal("wall time / nbdinfo", us, "nbdinfo", "info", "p50_us", 1, 1.3, 1.0)
}
