#!/usr/bin/env bash
# Runs the tests that cut a peer off, or run out of ports, in network namespaces of their own, and
# fails where they would be skipped. As root, or as a user who may make user namespaces. Needs iproute2.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export HEADWATER_NAMESPACES=required
readonly TEST=(bash -c 'cargo test --quiet --test tools vanished:: && cargo test --quiet --test load namespace::')
command -v ip >/dev/null || { echo "ip is missing: install iproute2" >&2; exit 1; }
if [[ $EUID -eq 0 ]]; then exec "${TEST[@]}"; fi
# A namespace of users, in which this one may do all; /run/netns needs a /run of its own.
exec unshare --map-root-user --net --mount bash -c 'mount -t tmpfs tmpfs /run && exec "$@"' - "${TEST[@]}"
