#!/usr/bin/env bash
# Checks headwater load live against nginx: readers of a file that grows must have every piece, whole
# and once, whether they come at its end or read it from its beginning.
#
#   scripts/live-nginx.sh [--seconds S] [--readers N] [--keep DIR]
#
# HEADWATER names another binary than target/release/headwater. Needs nginx. Takes a quarter of a
# minute, on the loopback interface. With --keep the reports and the server's log stay in DIR. Exits 1
# if any check failed.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/load-nginx.sh
seconds=4 clients=200
take_options readers "$@"
need nginx-light
start_nginx "" ""

failed=0
# What was asked, and what the report must say; a generator that was late (exit 5) is no failure.
check() {
  local name=$1 code=0
  shift
  "$HEADWATER" load live "http://$at/live.ts" --readers "$clients" -d "${seconds}s" \
    --write-file "$work/www/live.ts" --grace 20s --stall 20s --pid "$server" \
    --json "$work/$name.json" "$@" >"$work/$name.txt" || code=$?
  cat "$work/$name.txt"
  if [[ $code != 0 && $code != 5 ]]; then
    echo "FAILED: $name ended with $code"
    failed=1
  elif ! python3 - "$work/$name.json" <<'PY'; then
import json, sys
got = json.load(open(sys.argv[1]))
assert got["readers_joined"] == got["readers"] and got["readers_without_piece"] == 0, got
assert got["errors_total"] == 0 and got["stalls"] == 0, got["errors"]
assert not got["from_start"] or got["pieces"] == got["readers"] * got["written"], got
PY
    echo "FAILED: $name"
    failed=1
  fi
}

check at-the-end
check from-start --from-start --bitrate 4M
check small-pieces --from-start --bitrate 200k --interval 10ms --poll 50ms
exit $failed
