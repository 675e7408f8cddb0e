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

source scripts/load-nginx.sh
seconds=3 clients=200
take_options subscribers "$@"
module=/usr/lib/nginx/modules/ngx_nchan_module.so
need "nginx-light libnginx-mod-nchan" "$module"
start_nginx "load_module $module;" '
    location ~ ^/pub/(\w+)$ {
      nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length 1000; nchan_message_timeout 10s;
    }
    location ~ ^/sub/(\w+)$ {
      nchan_subscriber websocket; nchan_channel_id $1; nchan_subscriber_first_message newest;
    }
    location ~ ^/both/(\w+)$ {
      nchan_pubsub websocket; nchan_channel_id $1; nchan_subscriber_first_message newest;
    }'

failed=0
# rooms NAME ARGUMENTS...: one load, of which nothing may be lost.
rooms() {
  local name=$1 status=0
  shift
  "$HEADWATER" load rooms --subscribers "$clients" -d "${seconds}s" --pid "$server" "$@" \
    --json "$work/$name.json" >"$work/$name.txt" || status=$?
  # A rate that was not reached, or a saturated generator, is no failure here.
  if [[ $status =~ ^[045]$ ]] && grep -q 'nothing lost, nothing twice, all in order' "$work/$name.txt"; then
    printf '  ok    %s:%s\n' "$name" "$(sed -n 's/^  delivered *//p; s/^  CPU *//p' "$work/$name.txt" | tr '\n' ';' | sed 's/^/ /; s/;$//; s/;/; /')"
  else
    printf '  FAIL  %s: exit status %s\n' "$name" "$status"
    cat "$work/$name.txt"
    failed=1
  fi
}

rooms post --publishers 4 --rate 200 --sub-url "ws://$at/sub/a" --pub-url "http://$at/pub/a"
rooms many-rooms --rooms 20 --publishers 20 --rate 1k --poisson \
  --sub-url "ws://$at/sub/{room}" --pub-url "http://$at/pub/{room}"
rooms websocket --rooms 2 --publishers 4 --rate 200 --size 1000 \
  --sub-url "ws://$at/sub/{room}" --pub-url "ws://$at/both/{room}"
exit "$failed"
