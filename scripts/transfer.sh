#!/usr/bin/env bash
# The ways from a file to a socket that Linux has, measured: copies, sendfile, splice and io_uring, in CPU
# seconds per GB by the size of a piece.
#
#   scripts/transfer.sh [--quick] [--out DIR]
#
# The file is in the page cache, the socket is TCP on loopback with cubic; the sender has the first CPU,
# a reader that discards the second. 1 GiB a row, some 20 s in all; --quick sends 128 MiB. Builds the
# benchmark (benches/transfer.rs) and leaves a folder: transfer.txt (all figures), transfer.tsv and
# cpu_s_per_gb.tsv for other programs, index.html to look at.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/load-common.sh"
quick=() out=
while (($#)); do
  case $1 in
    -h | --help) help_of "$0"; exit 0 ;;
    --quick) quick=(--quick) ;;
    --out) out=${2:?--out needs a folder}; shift ;;
    *) echo "$0: unknown argument $1; see --help" >&2; exit 2 ;;
  esac
  shift
done
need_headwater
out=${out:-transfer-$(date +%Y%m%d-%H%M%S)}
mkdir -p "$out"
manifest=$(dirname "${BASH_SOURCE[0]}")/../Cargo.toml
cargo bench --quiet --manifest-path "$manifest" --bench transfer -- "${quick[@]}" | tee "$out/transfer.txt"

# A row: the way's name, which has blanks, then size, unit, and three figures.
awk -v OFS='\t' '
  NR == 1 { next }
  NR == 2 { print "way", "piece_kib", "gb_per_s", "cpu_s_per_gb", "calls"; next }
  { way = $0; sub(/ +[0-9]+ KiB .*/, "", way); print way, $(NF - 4), $(NF - 2), $(NF - 1), $NF }
' "$out/transfer.txt" >"$out/transfer.tsv"
awk -F '\t' -v OFS='\t' '
  NR == 1 { next }
  !($1 in row) { ways[++count] = $1 }
  !($2 in seen) { seen[$2]; sizes = sizes OFS $2 " KiB" }
  { row[$1] = row[$1] OFS $4 }
  END { print "way" sizes; for (i = 1; i <= count; i++) print ways[i] row[ways[i]] }
' "$out/transfer.tsv" >"$out/cpu_s_per_gb.tsv"
echo "report: $("$HEADWATER" load index "$out")"
