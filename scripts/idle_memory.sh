#!/usr/bin/env bash
# Measures the user memory of an idle keep-alive connection, with 9000 of them;
# exits 1 above 1024 bytes each. Options: scripts/idle_memory.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -n ${HEADWATER:-} ]] || cargo build --release --quiet
exec python3 scripts/idle_memory.py "$@"
