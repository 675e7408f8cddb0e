#!/bin/sh
# Runs the test suite under AddressSanitizer: everything, or what is named, as in
# `scripts/asan.sh --test runtime_drop`. Works on a stable toolchain.
set -eu
cd "$(dirname "$0")/.."
target="$(rustc -vV | sed -n 's/^host: //p')"
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Zsanitizer=address ${RUSTFLAGS:-}"
# Its own folder, since every crate is built anew with these flags.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/asan"
[ "$#" -gt 0 ] || set -- --lib --bins --tests
exec cargo test --target "$target" "$@"
