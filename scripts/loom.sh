#!/usr/bin/env bash
# Builds and runs the loom models: unit tests named `models::`, on the code that
# ships (src/sys/sync.rs). `scripts/loom.sh FILTER` runs those whose name has it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Both bounds are loom's own: a model fails at the first and stops at the second.
export LOOM_MAX_BRANCHES=${LOOM_MAX_BRANCHES:-10000}
export LOOM_MAX_DURATION=${LOOM_MAX_DURATION:-60}
# A target folder of its own: RUSTFLAGS apply to every dependency.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/loom}
export RUSTFLAGS="${RUSTFLAGS:-} --cfg headwater_loom"
# Without debug information, since models are not run in a debugger.
export CARGO_PROFILE_TEST_DEBUG=false CARGO_INCREMENTAL=0

exec cargo test --quiet --lib -- "${1:-models::}"
