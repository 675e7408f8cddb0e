#!/usr/bin/env bash
# Measures what the kernel's settings do for headwater: two network namespaces with a link
# between them, before and after a profile and for single keys. Needs root; changes nothing of
# the host. A few minutes; one part at a time is possible. Options: scripts/tuning-effect.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -n ${HEADWATER:-} || ${1:-} == --help ]] || cargo build --release --quiet
exec python3 scripts/tuning_effect.py "$@"
