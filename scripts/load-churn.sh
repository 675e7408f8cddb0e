#!/usr/bin/env bash
# A connection per request, by 8, 64 and 256 clients: what accepting and closing costs.
#
#   scripts/load-churn.sh [URL] [--pid PID] [--out DIR] [--i-own-this-host]
#
# URL is http://127.0.0.1:8080/ unless named. Leaves a folder whose index.html says how each
# load went, with a table, a page, JSON and a histogram log of it.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/load-common.sh"
take_options "$@"
begin churn
for clients in 8 64 256; do
  load "churn-$clients" --connections "$clients" --connection-per-request --duration 5s
done
finish
