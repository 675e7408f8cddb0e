#!/usr/bin/env bash
# Checks headwater against the clients that people use: curl, wget, aria2c,
# ffmpeg, ab, wrk and Python's http.client, by checksum of what they received,
# what it compresses against brotli, zstd, gzip and openssl, and its metrics
# against promtool.
#
#   scripts/interop.sh              builds the release binary if need be
#   HEADWATER=path scripts/interop.sh
#
# Every check prints ok or FAIL; exits 1 if any failed. Takes about a minute
# and 600 MB of disk in TMPDIR, and talks to the loopback interface only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly CLIENT_SECONDS_MAX=60
readonly ALICE_BYTES_AT=4831838208 # 4.5 GiB, beyond what 32 bits can say

checks=0
failed=0

section() { printf '\n%s\n' "$*"; }
ok() {
  checks=$((checks + 1))
  printf '  ok    %s\n' "$1"
}
# fail NAME EXPECTED FOUND
fail() {
  checks=$((checks + 1))
  failed=$((failed + 1))
  printf '  FAIL  %s\n        expected %s\n        found    %s\n' "$1" "$2" "$3"
}
# is NAME EXPECTED FOUND
is() { if [[ $2 == "$3" ]]; then ok "$1"; else fail "$1" "$2" "$3"; fi; }
# contains NAME EXPECTED FOUND
contains() { if [[ $3 == *"$2"* ]]; then ok "$1"; else fail "$1" "something with: $2" "$3"; fi; }
# same NAME FILE FILE: equal byte for byte
same() {
  if cmp -s -- "$2" "$3"; then ok "$1"; else fail "$1" "the bytes of $2" "$(cmp -- "$2" "$3" 2>&1 || true)"; fi
}
bounded() { timeout --kill-after=5s "$CLIENT_SECONDS_MAX" "$@"; }
bytes_of() { dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none; }

for tool in curl wget aria2c ffmpeg ffprobe ab wrk python3 brotli zstd openssl promtool; do
  command -v "$tool" >/dev/null || {
    echo "$tool is missing; .ci/run installs it, or: apt-get install" \
      "curl wget aria2 ffmpeg apache2-utils wrk python3 brotli zstd openssl prometheus" >&2
    exit 1
  }
done
if [[ -z ${HEADWATER:-} ]]; then
  cargo build --release --quiet
  HEADWATER=${CARGO_TARGET_DIR:-target}/release/headwater
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/headwater-interop-XXXXXX")
server=
finish() {
  if [[ -n $server ]]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf -- "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

# ---- what is served ---------------------------------------------------------

site=$work/site
got=$work/got
mkdir -p "$site/tree/a/b" "$site/tree/empty" "$got"
printf 'headwater\n' >"$site/hello.txt"
: >"$site/empty.txt"
head -c 100000 /dev/urandom >"$site/medium.bin"
head -c 314572800 /dev/urandom >"$site/big.bin"
truncate -s 5G "$site/sparse.bin"
printf 'alice was here' | dd of="$site/sparse.bin" bs=1 seek=$ALICE_BYTES_AT conv=notrunc status=none
spaced='a name with spaces & 100%.txt'
unicode='日本語 und Ünïcödé 🎬.txt'
invalid=$'broken-\xff\xfe.bin'
for name in "$spaced" "$unicode" "$invalid"; do printf 'I am %s\n' "$name" >"$site/$name"; done
for name in one a/two a/b/three "a/b/$spaced" "a/b/$unicode"; do
  head -c 5000 /dev/urandom >"$site/tree/$name"
done
# moov at the end, as cameras and encoders leave it: a player must seek to it first.
ffmpeg -v error -f lavfi -i testsrc=duration=20:size=640x360:rate=25 -f lavfi -i sine=duration=20 \
  -c:v mpeg4 -g 50 -b:v 1M -c:a aac -y "$site/clip.mp4"

: >"$work/server.err"
"$HEADWATER" serve "$site" --browse --listen 127.0.0.1:0 --listen "unix:$work/http.sock" \
  --admin 127.0.0.1:0 --cores 0 2>"$work/server.err" &
server=$!
address=
for ((try = 0; try < 100 && ${#address} == 0; try++)); do
  kill -0 "$server" 2>/dev/null || break
  address=$(sed -n 's/^ *listening *\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$work/server.err")
  [[ -n $address ]] || sleep 0.1
done
[[ -n $address ]] || {
  cat "$work/server.err" >&2
  exit 1
}
url=http://$address
admin=http://$(sed -n 's/^ *admin *\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$work/server.err")

fetch() { bounded curl -sS --fail-with-body "$@"; }
code() { bounded curl -sS -o /dev/null -w '%{http_code}' "$@"; }
# percent NAME: as it stands in a URL; any bytes may be in a name.
percent() { python3 -c 'import os,sys,urllib.parse as u; print(u.quote(os.fsencode(sys.argv[1])))' "$1"; }

# ---- curl -------------------------------------------------------------------

section "curl $(curl --version | sed -n '1s/curl \([^ ]*\).*/\1/p')"
for name in hello.txt empty.txt medium.bin big.bin clip.mp4; do
  fetch -o "$got/file" "$url/$name" || true
  same "GET $name" "$site/$name" "$got/file"
done
for name in "$spaced" "$unicode" "$invalid"; do
  fetch -o "$got/file" "$url/$(percent "$name")" || true
  same "GET $(printf %q "$name")" "$site/$name" "$got/file"
done
bounded curl -sSI "$url/big.bin" >"$got/head"
contains "HEAD tells the size" "content-length: 314572800" "$(tr -d '\r' <"$got/head")"
is "HEAD has no body" 0 "$(bounded curl -sSI -o /dev/null -w '%{size_download}' -X HEAD "$url/big.bin")"

ranges() {
  bytes_of "$site/$2" "$3" "$4" >"$got/expected"
  fetch -r "$1" -o "$got/file" "$url/$2" || true
  same "range $1 of $2" "$got/expected" "$got/file"
}
ranges 100-199 medium.bin 100 100
ranges -500 medium.bin 99500 500
ranges 314572000- big.bin 314572000 800
ranges 104857601-157286400 big.bin 104857601 52428800
ranges "$ALICE_BYTES_AT-$((ALICE_BYTES_AT + 13))" sparse.bin "$ALICE_BYTES_AT" 14
ranges 0-9 hello.txt 0 10
is "range beyond the end is 416" 416 "$(code -r 200000- "$url/medium.bin")"
bounded curl -sS -D "$got/head" -r 0-9,50000-50099 -o "$got/parts" "$url/medium.bin"
contains "two ranges are a multipart" "content-type: multipart/byteranges; boundary=" "$(tr -d '\r' <"$got/head")"
if python3 scripts/interop_client.py parts "$got/head" "$got/parts" "$site/medium.bin" 0-9 50000-50099; then
  ok "both parts have their bytes"
else
  fail "both parts have their bytes" "the ranges 0-9 and 50000-50099" "see above"
fi

fetch --compressed -D "$got/head" -o "$got/file" "$url/hello.txt"
same "--compressed gets the file as it is" "$site/hello.txt" "$got/file"
is "-z with the file's own date is 304" 304 "$(code -z "$site/medium.bin" "$url/medium.bin")"
is "-z with an earlier date is 200" 200 "$(code -z '1 Jan 2001' "$url/medium.bin")"
fetch --etag-save "$got/etag" -o /dev/null "$url/medium.bin"
is "--etag-compare is 304" 304 "$(code --etag-compare "$got/etag" "$url/medium.bin")"
printf '"other"' >"$got/etag"
is "--etag-compare with another is 200" 200 "$(code --etag-compare "$got/etag" "$url/medium.bin")"
fetch --http1.0 -D "$got/head" -o "$got/file" "$url/medium.bin"
same "--http1.0" "$site/medium.bin" "$got/file"
is "a client of HTTP/1.0 finds the connection closed" 2 \
  "$(bounded curl -sS --http1.0 -o /dev/null -o /dev/null -w '%{num_connects}\n' "$url/hello.txt" "$url/hello.txt" |
    awk '{n += $1} END {print n}')"
is "eight URLs need one connection" 1 \
  "$(bounded curl -sS -w '%{stderr}%{num_connects}\n' "$url/medium.bin" "$url/"{hello,empty,none}.txt \
    "$url/"{medium,medium}.bin "$url/clip.mp4" "$url/hello.txt" 2>&1 >/dev/null | awk '{n += $1} END {print n}')"
put() {
  bounded curl -sS -o /dev/null -w '%{http_code} %{size_upload}' -H 'Expect: 100-continue' \
    --expect100-timeout 20 -T "$1" "$url/new.bin"
}
is "PUT with Expect: 100-continue is refused before it is sent" "405 0" "$(put "$site/medium.bin")"
is "PUT of more than is taken with Expect: 100-continue, too" "413 0" "$(put "$site/big.bin")"
is "POST of 100 KB is refused and read" 405 "$(code -H 'Expect:' --data-binary "@$site/medium.bin" "$url/hello.txt")"
is "what is not there is 404" 404 "$(code "$url/none.txt")"
is "a path that climbs is refused" 400 "$(code --path-as-is "$url/../../../../etc/hostname")"
is "an encoded path that climbs is refused" 400 "$(code --path-as-is "$url/%2e%2e/%2e%2e/etc/hostname")"
is "a folder without its slash is redirected" "301 $url/tree/" \
  "$(bounded curl -sS -o /dev/null -w '%{http_code} %{redirect_url}' "$url/tree")"
contains "a listing as JSON" '"name":"one","type":"file"' "$(fetch -H 'Accept: application/json' "$url/tree/")"
fetch --unix-socket "$work/http.sock" -o "$got/file" http://localhost/medium.bin || true
same "over a Unix socket" "$site/medium.bin" "$got/file"
head -c 200000000 "$site/big.bin" >"$got/file"
fetch -C - -o "$got/file" "$url/big.bin" || true
same "-C - finishes a part of a download" "$site/big.bin" "$got/file"

# ---- content codings and digests ----------------------------------------------

section "brotli, zstd, gzip, sha256sum"
seq 1 200000 >"$site/text.html"
sleep 0.2 # a file that was just written may still change, and is not compressed yet
expanded() {
  local coding=$1
  shift
  fetch -D "$got/head" -H "Accept-Encoding: $coding" -o "$got/coded" "$url/text.html" || true
  "$@" <"$got/coded" >"$got/file" 2>/dev/null || true
  contains "$coding: content-encoding" "content-encoding: $coding" "$(tr -d '\r' <"$got/head")"
  same "$coding: expanded by $1" "$site/text.html" "$got/file"
}
# The first requests may be answered before the file is compressed.
for coding in br zstd gzip; do
  for ((try = 0; try < 100; try++)); do
    [[ $(fetch -o /dev/null -D - -H "Accept-Encoding: $coding" "$url/text.html") != *content-encoding* ]] || break
    sleep 0.05
  done
done
expanded br brotli -dc
expanded zstd zstd -dqc
expanded gzip gzip -dc
digest() { openssl dgst -sha256 -binary "$1" | base64; }
told() { fetch -o "$got/file" -D - -H 'Want-Repr-Digest: sha-256=1' "$@" | tr -d '\r' | sed -n 's/^repr-digest: //p'; }
for ((try = 0; try < 100; try++)); do [[ -z $(told "$url/text.html") ]] || break; sleep 0.05; done
is "Repr-Digest of a file" "sha-256=:$(digest "$site/text.html"):" "$(told "$url/text.html")"
for ((try = 0; try < 100; try++)); do [[ -z $(told -H 'Accept-Encoding: gzip' "$url/text.html") ]] || break; sleep 0.05; done
found=$(told -H 'Accept-Encoding: gzip' "$url/text.html")
is "Repr-Digest of a compressed one is of what was sent" "sha-256=:$(digest "$got/file"):" "$found"
fetch --compressed -o "$got/file" "$url/text.html" || true
same "curl --compressed" "$site/text.html" "$got/file"
gzip -9 -kc "$site/text.html" >"$site/text.html.gz"
sleep 1.2 # what lies beside a file is looked for once a second
fetch -H 'Accept-Encoding: gzip' -o "$got/file" "$url/text.html" || true
same "what lies compressed beside a file" "$site/text.html.gz" "$got/file"

# ---- wget -------------------------------------------------------------------

section "wget $(wget --version | sed -n '1s/GNU Wget \([^ ]*\).*/\1/p')"
head -c 100000000 "$site/big.bin" >"$got/big.bin"
bounded wget -q -c -P "$got" "$url/big.bin" || true
same "-c finishes a part of a download" "$site/big.bin" "$got/big.bin"
rm -f "$got/big.bin"
# wget writes an index.html of its own for each folder.
bounded wget -q -r -np -nH --restrict-file-names=nocontrol -P "$got/mirror" "$url/tree/" || true
rm -rf "$got/mirror/robots.txt" "$site/tree/empty"
find "$got/mirror" -name index.html -delete 2>/dev/null || true
find "$got/mirror" -type d -empty -delete 2>/dev/null || true
is "-r mirrors a tree from its listings" "" "$(diff -r "$site/tree" "$got/mirror/tree" 2>&1 || true)"
bounded wget -q -N -P "$got" "$url/medium.bin" || true
touch "$got/mark"
bounded wget -q -N -P "$got" "$url/medium.bin" || true
is "-N fetches once" "" "$(find "$got/medium.bin" -cnewer "$got/mark")"

# ---- aria2c -----------------------------------------------------------------

section "aria2c $(aria2c --version | sed -n '1s/aria2 version //p')"
bounded aria2c -q -x16 -s16 -k1M --file-allocation=none -d "$got" -o aria.bin "$url/big.bin" || true
same "16 connections, 16 segments" "$site/big.bin" "$got/aria.bin"
rm -f "$got/aria.bin"

# ---- ffmpeg -----------------------------------------------------------------

section "ffmpeg $(ffmpeg -version | sed -n '1s/ffmpeg version \([^ ]*\).*/\1/p')"
probe() { bounded ffprobe -v error -show_entries stream=codec_name,nb_frames:format=duration,size -of csv "$1"; }
is "ffprobe sees the same as on the disk" "$(probe "$site/clip.mp4")" "$(probe "$url/clip.mp4" 2>&1 || true)"
frame() { bounded ffmpeg -v error -ss "$1" -i "$2" -frames:v 1 -map 0:v -f md5 - 2>&1 || true; }
for second in 12 3.5 19.9; do
  is "the frame at $second s" "$(frame "$second" "$site/clip.mp4")" "$(frame "$second" "$url/clip.mp4")"
done
whole() { bounded ffmpeg -v error -i "$1" -map 0 -c copy -f md5 - 2>&1 || true; }
is "all packets" "$(whole "$site/clip.mp4")" "$(whole "$url/clip.mp4")"

# ---- ab and wrk -------------------------------------------------------------

section "ab, wrk"
load() {
  local name=$1 requests=$2
  shift 2
  bounded ab -q -n "$requests" "$@" >"$got/ab" 2>&1 || true
  is "$name" "Complete:$requests Failed:0 Non-2xx:0" "$(awk -F: '
    /^Complete requests/ {c = $2 + 0} /^Failed requests/ {f = $2 + 0} /^Non-2xx/ {n = $2 + 0}
    END {printf "Complete:%d Failed:%d Non-2xx:%d", c, f, n}' "$got/ab")"
}
load "ab: keep-alive" 50000 -k -c 50 "$url/hello.txt"
load "ab: a connection per request" 10000 -c 50 "$url/hello.txt"
load "ab: 100 KB files" 5000 -k -c 20 "$url/medium.bin"
busy() {
  bounded wrk -t1 -d2s "${@:2}" >"$got/wrk" 2>&1 || true
  is "$1" "" "$(grep -E 'Socket errors|Non-2xx|unable' "$got/wrk" || true)"
  [[ $(awk '/requests in/ {print $1}' "$got/wrk") -gt 0 ]] || fail "$1: requests" "more than 0" "$(cat "$got/wrk")"
}
busy "wrk: 64 connections" -c64 "$url/hello.txt"
busy "wrk: 64 connections, 100 KB" -c64 "$url/medium.bin"
busy "wrk: 64 connections, each closed after its request" -c64 -H 'Connection: close' "$url/hello.txt"

# ---- promtool ---------------------------------------------------------------

section "promtool $(promtool --version 2>&1 | sed -n '1s/promtool, version \([^ ]*\).*/\1/p')"
fetch -o "$got/metrics" "$admin/metrics" || true
contains "the metrics are there" "headwater_requests_total" "$(head -c 100000 "$got/metrics")"
is "check metrics finds nothing wrong" "" "$(bounded promtool check metrics <"$got/metrics" 2>&1 || true)"

# ---- Python -----------------------------------------------------------------

section "python $(python3 -c 'import platform; print(platform.python_version())')"
status=0
bounded python3 scripts/interop_client.py run "$address" "$site" | tee "$got/python" || status=1
checks=$((checks + $(grep -cE '^  (ok|FAIL)' "$got/python" || true)))
failed=$((failed + $(grep -c '^  FAIL' "$got/python" || true)))
if ((status)) && ! grep -q '^  FAIL' "$got/python"; then fail "interop_client.py" "exit status 0" "see above"; fi

# ---- stopping ---------------------------------------------------------------

section "stopping"
bounded curl -sS --limit-rate 100M -o "$got/last" "$url/big.bin" &
download=$!
# The download has begun when bytes of it are here.
for ((try = 0; try < 100; try++)); do [[ ! -s $got/last ]] || break; sleep 0.05; done
kill -TERM "$server"
stopped=0
wait "$server" || stopped=$?
server=
wait "$download" || true
same "a download that runs at SIGTERM is finished" "$site/big.bin" "$got/last"
is "SIGTERM: exit status" 0 "$stopped"
is "the Unix socket is gone" no "$([[ -e $work/http.sock ]] && echo yes || echo no)"

printf '\n'
if ((failed)); then
  echo "$failed of $checks checks FAILED; the server said:"
  cat "$work/server.err"
  exit 1
fi
echo "all $checks checks passed in $SECONDS s"
