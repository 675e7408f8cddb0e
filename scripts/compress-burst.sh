#!/usr/bin/env bash
# Shows that work for some requests (compression, digests, listings) leaves the
# others alone: latencies of small cached requests at a fixed rate, alone and
# beside a burst. Takes two or three minutes. Options: scripts/compress-burst.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -n ${HEADWATER:-} ]] || cargo build --release --quiet
exec python3 scripts/compress_burst.py "$@"
