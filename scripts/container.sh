#!/usr/bin/env bash
# Serves as in a container whose seccomp profile forbids io_uring, as docker's does by default: in a network
# namespace of its own, by the driver on epoll. Checks what comes, and measures both drivers in turn.
#
#   scripts/container.sh [--quick] [BINARY]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ -z ${IN_NAMESPACE:-} ]]; then
  if ! unshare --user --map-root-user --net true 2>/dev/null; then
    echo "skip  as in a container: network namespaces cannot be made here"
    exit 0
  fi
  IN_NAMESPACE=1 exec unshare --user --map-root-user --net "$0" "$@"
fi
ip link set lo up

seconds=3 rounds=5
if [[ ${1:-} == --quick ]]; then
  seconds=1 rounds=1
  shift
fi
binary=$(realpath "${1:-target/release/headwater}")
python=
for one in python3 /usr/bin/python3; do
  if "$one" -c 'import seccomp' 2>/dev/null; then python=$one; break; fi
done
if [[ -z $python ]]; then
  echo "skip  as in a container: there is no python3-seccomp here"
  exit 0
fi
work=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill -KILL "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
"$python" - contrib/seccomp/headwater.json "$work/profile.json" <<'PYTHON'
import json
import sys

profile = json.load(open(sys.argv[1], encoding="utf-8"))
for group in profile["syscalls"]:
    group["names"] = [name for name in group["names"] if not name.startswith("io_uring")]
profile["defaultErrnoRet"] = 1
json.dump(profile, open(sys.argv[2], "w", encoding="utf-8"))
PYTHON
mkdir "$work/site"
head -c 1024 /dev/zero >"$work/site/small.bin"
head -c 16384 /dev/urandom >"$work/site/page.bin"
head -c 100000 /dev/urandom >"$work/site/medium.bin"
head -c 8000000 /dev/urandom >"$work/site/large.bin"

# start PORT COMMAND...: runs a server, and waits until it answers.
start() {
  local port=$1
  shift
  "$@" serve "$work/site" --listen "127.0.0.1:$port" --admin off --cores 0 2>"$work/log" &
  server=$!
  for _ in $(seq 100); do
    if curl --silent --output /dev/null "http://127.0.0.1:$port/small.bin"; then return; fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/log" >&2
  exit 1
}
stop() {
  kill -TERM "$server"
  wait "$server" || { echo "the server ended with $?" >&2; cat "$work/log" >&2; exit 1; }
  server=
}
cpu_ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$server/stat"; }

denied=("$python" scripts/contrib_seccomp.py "$work/profile.json" "$binary")
start 8801 "${denied[@]}"
grep -q 'one epoll each' "$work/log" || { echo "not by epoll:" >&2; cat "$work/log" >&2; exit 1; }
grep -q 'warning: using epoll' "$work/log" || { echo "not said why:" >&2; cat "$work/log" >&2; exit 1; }
for name in small page medium large; do
  curl --silent --show-error --fail "http://127.0.0.1:8801/$name.bin" | cmp - "$work/site/$name.bin"
done
curl --silent --show-error --fail --range 1000000-1999999 http://127.0.0.1:8801/large.bin |
  cmp - <(tail -c +1000001 "$work/site/large.bin" | head -c 1000000)
stop
echo "ok    io_uring forbidden: files, a range and a stop, by epoll"

# One server and one case at a time, in turn, so that a drift of the machine meets both.
printf '%-8s %-9s %12s %16s\n' case driver requests/s 'CPU per request'
for name in small page medium; do
  for ((round = 0; round < rounds; round++)); do
    for driver in io_uring epoll; do
      # A filter costs CPU at every system call, so both drivers have one.
      command=("$python" scripts/contrib_seccomp.py contrib/seccomp/headwater.json "$binary")
      if [[ $driver == epoll ]]; then command=("${denied[@]}"); fi
      start 8802 "${command[@]}"
      before=$(cpu_ticks)
      taskset -c 1 "$binary" load "http://127.0.0.1:8802/$name.bin" --connections 64 --threads 1 \
        --duration "${seconds}s" --json "$work/json" >"$work/load" 2>&1 || true
      after=$(cpu_ticks)
      "$python" - "$work/json" "$name" "$driver" $((after - before)) "$(getconf CLK_TCK)" <<'PYTHON'
import json
import sys

load = json.load(open(sys.argv[1], encoding="utf-8"))
done = load["requests"]
assert done > 0 and load["errors_total"] == 0, load["errors"]
micros = int(sys.argv[4]) / int(sys.argv[5]) / max(done, 1) * 1e6
print(f"{sys.argv[2]:<8} {sys.argv[3]:<9} {done / load['seconds']:12.0f} {micros:13.2f} us")
PYTHON
      stop
    done
  done
done
