#!/usr/bin/env bash
# Half a minute that says whether a server is well: one client, many, many at a rate, a connection
# per request.
#
#   scripts/load-smoke.sh [URL] [--pid PID] [--out DIR] [--i-own-this-host]
#
# URL is http://127.0.0.1:8080/ unless named. Leaves a folder whose index.html says how each
# load went, with a table, a page, JSON and a histogram log of it. Exits with the last status of headwater load that was not 0.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/load-common.sh"
take_options "$@"
begin smoke
load one --connections 1 --duration 5s --check
load many --connections 64 --duration 5s --check
load rate --connections 64 --rate 1k --poisson --duration 10s
load churn --connections 16 --connection-per-request --duration 5s
finish
