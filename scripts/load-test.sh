#!/usr/bin/env bash
# Runs the scripts that load a server, each for a moment, against `headwater serve` on loopback, and checks
# what they leave: files, requests, errors, pages. How fast it went is no matter.
#
#   scripts/load-test.sh
#
# Needs python3, ffmpeg and chromium. HEADWATER names another binary than target/release/headwater.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/load-common.sh
if (($#)); then
  help_of "$0"
  [[ $1 == -h || $1 == --help ]] && exit 0 || exit 2
fi
need_headwater
HEADWATER=$(realpath "$HEADWATER")
export HEADWATER
work=$(mktemp -d "${TMPDIR:-/tmp}/headwater-load-test-XXXXXX")
server=
end() {
  [[ -z $server ]] || { kill "$server" && wait "$server"; } || true
  rm -rf "$work"
}
trap end EXIT

mkdir "$work/www"
head -c 4096 /dev/urandom >"$work/www/small.bin"
ffmpeg -v error -f lavfi -i testsrc2=size=320x180:rate=25 -t 60 -b:v 1M -pix_fmt yuv420p "$work/www/video.mp4"
: >"$work/serve.log"
"$HEADWATER" serve "$work/www" --listen 127.0.0.1:0 --admin off --cores 0 2>>"$work/serve.log" &
server=$!
for _ in {1..100}; do
  address=$(awk '$1 == "listening" { print $2; exit }' "$work/serve.log")
  [[ -n $address ]] && break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.05
done
[[ -n $address ]] || { echo "the server did not start:"; cat "$work/serve.log"; exit 1; }

failed=0
fail() { echo "FAILED: $*"; failed=1; }

# Says what is wrong with the loads of a folder. Whether a rate was reached is the machine's affair.
check_loads() {
  python3 - "$@" <<'CHECK'
import json, os, sys
folder, names = sys.argv[1], sys.argv[2:]
with open(f"{folder}/index.html") as f:
    index = f.read()
for name in names:
    for ending in ("json", "html", "hlog", "txt"):
        if not os.path.getsize(f"{folder}/{name}.{ending}"):
            print(f"{name}.{ending} is empty")
    with open(f"{folder}/{name}.json") as f:
        told = json.load(f)
    if told["requests"] == 0 or told["errors_total"] > 0:
        print(f"{name}: {told['requests']} requests, errors {told['errors']}")
    if told["verdict"] not in ("OK", "RATE NOT REACHED", "SATURATED CLIENT"):
        print(f"{name}: {told['verdict']}")
    if f">{name}</a>" not in index:
        print(f"index.html does not name {name}")
CHECK
}

# try SCRIPT "LOADS" "OTHER FILES" ARGUMENTS...: runs scripts/load-SCRIPT.sh, which must leave these.
try() {
  local script=$1 loads=$2 files=$3 status=0 file wrong
  shift 3
  echo "== load-$script.sh"
  HEADWATER_LOAD_ARGUMENTS="--duration 200ms" scripts/"load-$script.sh" "http://$address/$object" "$@" \
    --out "$work/$script" >"$work/said" 2>&1 || status=$?
  # 4 and 5 tell of a slow machine.
  if [[ $status != [045] ]]; then
    fail "load-$script.sh ended with $status:"
    cat "$work/said"
    return
  fi
  # shellcheck disable=SC2086 # words
  wrong=$(check_loads "$work/$script" $loads 2>&1) || true
  [[ -z $wrong ]] || fail "load-$script.sh: $wrong"
  for file in $files; do
    [[ -s $work/$script/$file ]] || fail "load-$script.sh left no $file"
  done
}

object=small.bin
parts=$(printf 'part-%02d ' {1..10})
try smoke "one many rate churn" "" --pid "$server"
try million "million" "" --pid "$server"
try churn "churn-8 churn-64 churn-256" ""
try idle "idle" "" 500
try soak "$parts" "soak.tsv drift.txt drift.html" 1s --pid "$server"
try mixed "small downloads" "" --download "http://$address/video.mp4" --pid "$server"
object=video.mp4
try video "viewers-10 viewers-50 viewers-200" "" --pid "$server"

echo "== compare.sh"
scripts/compare.sh --help | grep -q -- --quick || fail "compare.sh --help does not tell of --quick"
# Server and client have a core each; what so short a time says of them is not looked at.
if (($(nproc) > 1)); then
  scripts/compare.sh --quick --markdown --out "$work/compare" >"$work/said" 2>&1 ||
    { fail "compare.sh:"; cat "$work/said"; }
  for file in compare.txt compare.json index.html small-headwater.html churn-headwater.json; do
    [[ -s $work/compare/$file ]] || fail "compare.sh left no $file"
  done
fi

echo "== pages"
scripts/report-check.sh "$work"/*/*.html || failed=1
((failed == 0)) && echo "all well"
exit "$failed"
