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

seconds=4 readers=200 keep=
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --seconds) seconds=${2:?--seconds needs a number}; shift ;;
    --readers) readers=${2:?--readers needs a number}; shift ;;
    --keep) keep=${2:?--keep needs a folder}; shift ;;
    *) echo "$0: unknown argument $1; see --help" >&2; exit 2 ;;
  esac
  shift
done

HEADWATER=${HEADWATER:-target/release/headwater}
nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || {
  echo "$0: nginx is missing; .ci/run installs it, or: apt-get install nginx-light" >&2
  exit 1
}
[[ -x $HEADWATER ]] || {
  echo "$0: $HEADWATER is not there; build it with: cargo build --release" >&2
  exit 1
}

work=$(mktemp -d "${TMPDIR:-/tmp}/headwater-live-XXXXXX")
server=
finish() {
  if [[ -n $server ]]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  if [[ -n $keep ]]; then mkdir -p "$keep" && cp "$work"/*.json "$work"/*.txt "$work"/error.log "$keep" || true; fi
  rm -rf -- "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$work/www"
chmod 755 "$work" "$work/www"
cat >"$work/nginx.conf" <<EOF
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 16384; }
http {
  access_log off;
  sendfile on;
  client_body_temp_path $work/body;
  proxy_temp_path $work/proxy;
  fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi;
  scgi_temp_path $work/scgi;
  server { listen 127.0.0.1:$port backlog=4096; root $work/www; }
}
EOF
"$nginx" -c "$work/nginx.conf" 2>"$work/nginx.txt" &
server=$!
for ((i = 0; i < 100; i++)); do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  sleep 0.1
done

failed=0
# What was asked, and what the report must say; a generator that was late (exit 5) is no failure.
check() {
  local name=$1 code=0
  shift
  "$HEADWATER" load live "http://127.0.0.1:$port/live.ts" --readers "$readers" -d "${seconds}s" \
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
