#!/usr/bin/env bash
# Shows that a slow disk delays its own requests only: latencies of small hot
# requests while big cold files are downloaded, for headwater and for nginx.
# Takes a minute or two and 2.6 GB of disk. Options: scripts/cold.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -n ${HEADWATER:-} ]] || cargo build --release --quiet
exec python3 scripts/cold.py "$@"
