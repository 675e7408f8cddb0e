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
if [ "$#" -eq 0 ]; then
  set -- --lib --bins
  for test in tests/*.rs tests/*/main.rs; do
    name="${test#tests/}"
    name="${name%.rs}"
    name="${name%/main}"
    # The model checker switches stacks itself, in which the sanitizer sees leaks; and the
    # model has none of our unsafe code.
    [ "$name" = mailbox_model ] || set -- "$@" --test "$name"
  done
  # Two tests weigh the server's memory, of which the sanitizer keeps what was freed.
  set -- "$@" -- --skip leave_nothing
fi
exec cargo test --target "$target" "$@"
