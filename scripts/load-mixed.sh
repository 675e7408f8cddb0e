#!/usr/bin/env bash
# Downloads, small requests and rooms at the same time, each a load of its own: what one does to the
# others.
#
#   scripts/load-mixed.sh [URL] [--download URL] [--sub-url URL --pub-url URL] [--pid PID] [--out DIR]
#                         [--i-own-this-host]
#
# URL is http://127.0.0.1:8080/ unless named: the small requests, 500 a second. --download names
# something large that 8 connections fetch all the time (URL, too, unless named). Rooms, 200 subscribers
# and 50 messages a second, are loaded if their URLs are named. Leaves a folder whose index.html says
# how each load went, with a table, JSON and a histogram log of it.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/load-common.sh"
download= sub= publish= others=()
while (($#)); do
  case $1 in
    --download) download=${2:?--download needs a URL}; shift ;;
    --sub-url) sub=${2:?--sub-url needs a URL}; shift ;;
    --pub-url) publish=${2:?--pub-url needs a URL}; shift ;;
    *) others+=("$1") ;;
  esac
  shift
done
take_options "${others[@]}"
if [[ -n $sub && -z $publish ]] || [[ -z $sub && -n $publish ]]; then
  echo "$0: rooms need both --sub-url and --pub-url; see --help" >&2
  exit 2
fi
for one in $download $sub $publish; do refuse_foreign "$one"; done
begin mixed

# Each in the background, its table shown when all have ended.
jobs=()
load small --connections 16 --rate 500 --poisson --duration 10s >/dev/null & jobs+=($!)
(url=${download:-$url}; load downloads --connections 8 --duration 10s >/dev/null) & jobs+=($!)
if [[ -n $sub ]]; then
  # shellcheck disable=SC2086 # arguments, not one argument
  "$HEADWATER" load rooms --subscribers 200 --publishers 4 --rate 50 --sub-url "$sub" --pub-url "$publish" \
    --duration 10s "${pid[@]}" ${HEADWATER_ROOMS_ARGUMENTS:-} --json "$out/rooms.json" --hdr "$out/rooms.hlog" --report "$out/rooms.html" \
    >"$out/rooms.txt" & jobs+=($!)
fi
for job in "${jobs[@]}"; do
  result=0
  wait "$job" || result=$?
  ((result == 0)) || status=$result
done
for table in "$out"/*.txt; do
  echo "== $(basename "$table" .txt)"
  cat "$table"
done
finish
