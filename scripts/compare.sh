#!/usr/bin/env bash
# Measures headwater beside nginx, lighttpd and h2o, whichever are installed: CPU per request, in
# interleaved rounds. It starts them itself, on loopback. Options: scripts/compare.sh --help
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
[[ -n ${HEADWATER:-} || " $* " == *" --help "* || " $* " == *" -h "* ]] ||
  cargo build --release --quiet --manifest-path "$here/../Cargo.toml"
exec python3 "$here/compare.py" "$@"
