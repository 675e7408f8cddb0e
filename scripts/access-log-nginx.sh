#!/usr/bin/env bash
# Checks headwater's combined access log against nginx's: both answer the same
# requests for the same files, and their lines must be equal byte for byte but
# for the time, and for the body's length where each has an error page of its own.
#
#   scripts/access-log-nginx.sh              builds the release binary if need be
#   HEADWATER=path scripts/access-log-nginx.sh
#
# Exits 1 if a line differs. Takes some seconds and talks to the loopback
# interface only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin"

for tool in nginx python3; do
  command -v "$tool" >/dev/null || {
    echo "$tool is missing; .ci/run installs it, or: apt-get install nginx-light python3" >&2
    exit 1
  }
done
if [[ -z ${HEADWATER:-} ]]; then
  cargo build --release --quiet
  HEADWATER=${CARGO_TARGET_DIR:-target}/release/headwater
fi
exec python3 scripts/access_log_nginx.py "$HEADWATER"
