#!/bin/sh
# Runs the test suite under AddressSanitizer: everything, or what is named, as in
# `scripts/asan.sh --test runtime`. Works on a stable toolchain.
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
    # models have none of our unsafe code.
    case "$name" in *_model) ;; *) set -- "$@" --test "$name" ;; esac
  done
  # Two tests weigh the server's memory, of which the sanitizer keeps what was freed. In one, a
  # panic's own value panics when it is dropped, and is forgotten on purpose.
  set -- "$@" -- --skip leave_nothing --skip a_panic_is_an_error_for_its_caller
fi
exec cargo test --target "$target" "$@"
