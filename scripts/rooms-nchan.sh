#!/usr/bin/env bash
# Checks headwater load rooms against nginx with nchan: rooms over WebSocket and POST, and over
# WebSocket both ways, must have every delivery, once and in order.
#
#   scripts/rooms-nchan.sh [--seconds S] [--subscribers N] [--keep DIR]
#
# HEADWATER names another binary than target/release/headwater. Needs nginx and Debian's
# libnginx-mod-nchan. Takes a quarter of a minute, on the loopback interface. With --keep the reports
# and the server's log stay in DIR. Exits 1 if any check failed.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=3 subscribers=200 keep=
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --seconds) seconds=${2:?--seconds needs a number}; shift ;;
    --subscribers) subscribers=${2:?--subscribers needs a number}; shift ;;
    --keep) keep=${2:?--keep needs a folder}; shift ;;
    *) echo "$0: unknown argument $1; see --help" >&2; exit 2 ;;
  esac
  shift
done

HEADWATER=${HEADWATER:-target/release/headwater}
nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || nginx=
module=/usr/lib/nginx/modules/ngx_nchan_module.so
[[ -n $nginx && -e $module ]] || {
  echo "$0: nginx with nchan is missing; .ci/run installs it, or: apt-get install nginx-light libnginx-mod-nchan" >&2
  exit 1
}
[[ -x $HEADWATER ]] || {
  echo "$0: $HEADWATER is not there; build it with: cargo build --release" >&2
  exit 1
}

work=$(mktemp -d "${TMPDIR:-/tmp}/headwater-nchan-XXXXXX")
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
cat >"$work/nginx.conf" <<EOF
load_module $module;
worker_processes 1;
worker_rlimit_nofile 65536;
daemon off;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 32768; }
http {
  access_log off;
  client_body_temp_path $work/body;
  proxy_temp_path $work/proxy;
  fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi;
  scgi_temp_path $work/scgi;
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:$port backlog=4096;
    location ~ ^/pub/(\w+)\$ {
      nchan_publisher; nchan_channel_id \$1; nchan_message_buffer_length 1000; nchan_message_timeout 10s;
    }
    location ~ ^/sub/(\w+)\$ {
      nchan_subscriber websocket; nchan_channel_id \$1; nchan_subscriber_first_message newest;
    }
    location ~ ^/both/(\w+)\$ {
      nchan_pubsub websocket; nchan_channel_id \$1; nchan_subscriber_first_message newest;
    }
  }
}
EOF
"$nginx" -e "$work/error.log" -c "$work/nginx.conf" &
server=$!
for _ in $(seq 100); do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  kill -0 "$server" 2>/dev/null || { cat "$work/error.log" >&2; exit 1; }
  sleep 0.05
done

failed=0
# rooms NAME ARGUMENTS...: one load, of which nothing may be lost.
rooms() {
  local name=$1 status=0
  shift
  "$HEADWATER" load rooms --subscribers "$subscribers" -d "${seconds}s" --pid "$server" "$@" \
    --json "$work/$name.json" >"$work/$name.txt" || status=$?
  # A rate or a generator that was not up to it is no matter here.
  if [[ $status =~ ^[045]$ ]] && grep -q 'nothing lost, nothing twice, all in order' "$work/$name.txt"; then
    printf '  ok    %s:%s\n' "$name" "$(sed -n 's/^  delivered *//p; s/^  CPU *//p' "$work/$name.txt" | tr '\n' ';' | sed 's/^/ /; s/;$//; s/;/; /')"
  else
    printf '  FAIL  %s: exit status %s\n' "$name" "$status"
    cat "$work/$name.txt"
    failed=1
  fi
}

at=127.0.0.1:$port
rooms post --publishers 4 --rate 200 --sub-url "ws://$at/sub/a" --pub-url "http://$at/pub/a"
rooms many-rooms --rooms 20 --publishers 20 --rate 1k --poisson \
  --sub-url "ws://$at/sub/{room}" --pub-url "http://$at/pub/{room}"
rooms websocket --rooms 2 --publishers 4 --rate 200 --size 1000 \
  --sub-url "ws://$at/sub/{room}" --pub-url "ws://$at/both/{room}"
exit "$failed"
