#!/usr/bin/env bash
# Line coverage of src/http by its own tests: the unit tests of http and the program tests/http.
# Fails below LEAST per cent. Needs llvm-cov and llvm-profdata of the LLVM that rustc has (Debian: llvm-NN,
# rustup: llvm-tools); says so and passes over it where there are none.
#
#   scripts/coverage.sh [LEAST]     (85 unless given)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
least=${1:-85}

major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
tools=$(dirname "$(rustc --print target-libdir)")/bin
cov= profdata=
for suffix in "-$major" ""; do
  for path in "$tools/llvm-cov" "$(command -v "llvm-cov$suffix" || true)"; do
    if [[ -x $path ]] && "$path" --version | grep -q "LLVM version $major\."; then cov=$path; break 2; fi
  done
done
profdata=${cov/llvm-cov/llvm-profdata}
if [[ -z $cov || ! -x $profdata ]]; then
  echo "skip  coverage: there is no llvm-cov of LLVM $major here (apt-get install llvm-$major)"
  exit 0
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Only this crate is instrumented, so that dependencies need not be built again.
printf '#!/bin/sh\nexec "$@" -C instrument-coverage\n' >"$out/rustc"
chmod +x "$out/rustc"
# In a place of its own, since cargo names what it builds by the wrapper's path.
wrapper=$PWD/target/coverage-rustc
mkdir -p target
cp "$out/rustc" "$wrapper"
export RUSTC_WORKSPACE_WRAPPER=$wrapper
export LLVM_PROFILE_FILE=$out/%p-%m.profraw

programs() {
  cargo test --lib --test http --no-run --message-format=json 2>"$out/build" |
    sed -n 's/.*"executable":"\([^"]*\/deps\/[^"]*\)".*/\1/p'
}
list=$(programs) || { cat "$out/build" >&2; exit 1; }
mapfile -t executables <<<"$list"
[[ ${#executables[@]} == 2 ]] || { echo "expected two test programs, got: $list" >&2; exit 1; }
objects=()
for program in "${executables[@]}"; do
  filter=()
  # The library's unit tests have the module's path in their names, those of tests/http do not.
  case $(basename "$program") in headwater-*) filter=(http::) ;; esac
  "$program" --quiet "${filter[@]}"
  objects+=(--object "$program")
done
"$profdata" merge --sparse "$out"/*.profraw -o "$out/all.profdata"
"$cov" export --summary-only --instr-profile "$out/all.profdata" "${objects[@]}" \
  --ignore-filename-regex '/tests\.rs$|/tests/' >"$out/summary.json"
python3 - "$out/summary.json" "$PWD/src/http/" "$least" <<'PYTHON'
import json
import sys

summary, folder, least = sys.argv[1], sys.argv[2], float(sys.argv[3])
with open(summary, encoding="utf-8") as file:
    files = json.load(file)["data"][0]["files"]
rows = []
for one in files:
    if one["filename"].startswith(folder):
        lines = one["summary"]["lines"]
        rows.append((one["filename"][len(folder):], lines["covered"], lines["count"]))
if not rows:
    sys.exit("no file of src/http was seen")
for name, covered, count in sorted(rows, key=lambda row: row[1] / row[2]):
    print(f"{100 * covered / count:6.1f}%  {covered:5} of {count:5} lines  src/http/{name}")
covered, count = sum(row[1] for row in rows), sum(row[2] for row in rows)
share = 100 * covered / count
print(f"{share:6.1f}%  {covered:5} of {count:5} lines  src/http in all (at least {least:g}% is asked for)")
sys.exit(share < least)
PYTHON
