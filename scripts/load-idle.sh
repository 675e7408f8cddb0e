#!/usr/bin/env bash
# Many connections that have little to say: 10,000 of them with 100 requests a second in all, and what
# they cost the server in memory.
#
#   scripts/load-idle.sh [URL] [CONNECTIONS] [--pid PID] [--out DIR] [--i-own-this-host]
#
# URL is http://127.0.0.1:8080/ unless named. With --pid the server's own memory before and with the
# connections goes to idle.tsv, and what one of them takes. Leaves a folder with
# table, page, JSON and histogram log.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/load-common.sh"
take_options "$@"
begin idle
connections=${rest[1]:-10000}
memory_kb() { awk '/^RssAnon:/ { print $2 }' "/proc/${pid[1]}/status"; }
if ((${#pid[@]})); then
  before=$(memory_kb)
  # Looked at while they are all there.
  (
    sleep 8
    with=$(memory_kb)
    printf 'connections\tbefore_kb\twith_kb\tbytes_per_connection\n%s\t%s\t%s\t%s\n' "$connections" \
      "$before" "$with" "$(((with - before) * 1024 / connections))" >"$out/idle.tsv"
  ) &
fi
load idle --connections "$connections" --rate 100 --duration 10s
wait
if [[ -e $out/idle.tsv ]]; then cat "$out/idle.tsv"; fi
finish
