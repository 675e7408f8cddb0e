#!/usr/bin/env bash
# Checks the files of contrib/: systemd's units with systemd-analyze, and the seccomp profile by running the
# server under it. What this machine has no tool for is named and skipped.
#
#   scripts/contrib-check.sh [BINARY]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
binary=$(realpath "${1:-target/release/headwater}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if command -v systemd-analyze >/dev/null; then
  cp contrib/systemd/* "$work"
  # The program need not be installed here, and the target of its own boot is not ours to check.
  sed -i "s|^ExecStart=[^ ]*|ExecStart=$binary|" "$work/headwater.service"
  said=$(systemd-analyze verify --man=no "$work/headwater.service" "$work/headwater.socket" 2>&1 | grep -F "$work" || true)
  [[ -z $said ]] || { echo "systemd-analyze: $said" >&2; exit 1; }
  echo "ok    systemd-analyze verify: headwater.service, headwater.socket"
else
  echo "skip  systemd's units: there is no systemd-analyze here"
fi

python=
for one in python3 /usr/bin/python3; do
  if "$one" -c 'import seccomp' 2>/dev/null; then python=$one; break; fi
done
if [[ -z $python ]]; then
  echo "skip  the seccomp profile: there is no python3-seccomp here"
  exit 0
fi
mkdir "$work/site"
seq 20000 >"$work/site/numbers.txt"
head -c 3000000 /dev/zero >"$work/site/large.bin"
"$python" scripts/contrib_seccomp.py contrib/seccomp/headwater.json "$binary" serve "$work/site" \
  --listen "unix:$work/s" --admin off --browse 2>"$work/log" &
server=$!
trap 'kill -KILL "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
get() { curl --silent --show-error --fail --unix-socket "$work/s" "$@"; }
for _ in $(seq 100); do
  [[ -S $work/s ]] && break
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
get http://a/numbers.txt | cmp - "$work/site/numbers.txt"
get --compressed http://a/numbers.txt | cmp - "$work/site/numbers.txt"
get http://a/large.bin | cmp - "$work/site/large.bin"
get --header 'Want-Repr-Digest: sha-256=1' http://a/large.bin --output /dev/null
get http://a/ | grep -q numbers.txt
kill -TERM "$server"
wait "$server" || { echo "the server ended with $?" >&2; cat "$work/log" >&2; exit 1; }
echo "ok    contrib/seccomp/headwater.json: files, compression, a digest, a listing, a stop"

# The profile does forbid something.
if "$python" scripts/contrib_seccomp.py contrib/seccomp/headwater.json unshare --net true 2>/dev/null; then
  echo "the seccomp profile lets a process make namespaces" >&2
  exit 1
fi
echo "ok    contrib/seccomp/headwater.json: no namespaces"
