#!/usr/bin/env bash
# Hours of a steady rate, in parts: does latency, memory or the number of descriptors drift?
#
#   scripts/load-soak.sh [URL] [TIME] [--pid PID] [--out DIR] [--i-own-this-host]
#
# URL is http://127.0.0.1:8080/ unless named, TIME the length of each of ten parts (1m unless named, so
# ten minutes in all). With --pid the server's memory and descriptors are written beside each part.
# Leaves a folder whose index.html says how each part went, with a table, a page, JSON and a histogram log
# of it, soak.tsv, and drift.txt and drift.html, which compare the last part with the first.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/load-common.sh"
take_options "$@"
begin soak
time=${rest[1]:-1m}
printf 'part\tmemory_kb\tdescriptors\n' >"$out/soak.tsv"
for part in 01 02 03 04 05 06 07 08 09 10; do
  load "part-$part" --connections 64 --rate 1k --poisson --duration "$time" --seed "${part#0}"
  if ((${#pid[@]})); then
    memory=$(awk '/^RssAnon:/ { print $2 }' "/proc/${pid[1]}/status")
    descriptors=$(find "/proc/${pid[1]}/fd" -mindepth 1 | wc -l)
    printf '%s\t%s\t%s\n' "$part" "$memory" "$descriptors" | tee -a "$out/soak.tsv"
  fi
done
"$HEADWATER" load compare "$out/part-01.json" "$out/part-10.json" --report "$out/drift.html" | tee "$out/drift.txt"
finish
