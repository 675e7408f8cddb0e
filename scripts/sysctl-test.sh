#!/usr/bin/env bash
# Checks scripts/sysctl-*.sh against headwater sysctl: the same verdicts, values and snapshots,
# each taking back what the other applied, and what sysctl(8) itself makes of the profiles.
#
#   scripts/sysctl-test.sh              builds the release binary if need be
#   HEADWATER=path scripts/sysctl-test.sh
#
# Works on folders that look like /proc/sys and, where there is the right to make one, in a
# network namespace of its own. Changes nothing of the host. Exits 1 if a check failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ -z ${HEADWATER:-} ]]; then
  cargo build --release --quiet
  HEADWATER=${CARGO_TARGET_DIR:-target}/release/headwater
fi
HEADWATER=$(realpath "$HEADWATER")

if [[ ${1:-} != --inside ]]; then
  if unshare --net true 2>/dev/null; then
    exec unshare --net "$0" --inside
  fi
  echo "SKIPPED: no right to make a network namespace: the kernel's own settings are not tried"
fi

failed=0
checks=0
# is NAME EXPECTED FOUND
is() {
  checks=$((checks + 1))
  if [[ $2 == "$3" ]]; then
    printf '  ok    %s\n' "$1"
  else
    failed=$((failed + 1))
    printf '  FAIL  %s\n        expected %s\n        found    %s\n' "$1" "$2" "$3"
  fi
}
work=$(mktemp -d "${TMPDIR:-/tmp}/headwater-sysctl-XXXXXX")
trap 'rm -rf -- "$work"' EXIT
export HEADWATER_STATE_DIR=$work/state
shells=()
for shell in dash "bash --posix" busybox\ sh; do
  command -v "${shell%% *}" >/dev/null && shells+=("$shell")
done
values() { (cd "$1" && find . -type f | sort | xargs tail -n +1); }
status() { local code=0; "$@" >/dev/null 2>&1 || code=$?; echo "$code"; }

# A host with all keys of all profiles, most below what is wanted, some above, one gone.
host=$work/host
fresh() {
  rm -rf "$host" "$HEADWATER_STATE_DIR"
  local key
  for key in $(sed -n 's/^-*\([a-z0-9_.]*\) *=.*/\1/p' sysctl/*.conf | sort -u); do
    mkdir -p "$(dirname "$host/${key//.//}")"
    printf '1\n' >"$host/${key//.//}"
  done
  printf '32768\t60999\n' >"$host/net/ipv4/ip_local_port_range"
  printf '4096\t16384\t999999999\n' >"$host/net/ipv4/tcp_wmem"
  printf '8192\t1\t1\n' >"$host/net/ipv4/tcp_rmem"
  printf '9223372036854775807\n' >"$host/fs/file-max"
  printf '70000\n' >"$host/net/core/somaxconn"
  printf '7200\n' >"$host/net/ipv4/tcp_keepalive_time"
  printf 'cubic\n' >"$host/net/ipv4/tcp_congestion_control"
  rm -f "$host/net/netfilter/nf_conntrack_max"
}

for shell in "${shells[@]}"; do
  echo "$shell"
  script() { $shell "scripts/sysctl-$1.sh" "${@:2}"; }
  export HEADWATER_PROC_SYS=$host
  is "list" "$("$HEADWATER" sysctl list | sort)" "$(script list | sort)"
  for profile in $(cd sysctl && ls -- *.conf); do
    profile=${profile%.conf}
    fresh
    theirs=$("$HEADWATER" sysctl diff "$profile")
    is "diff $profile" "$(grep -v '^[a-z.]*[a-z0-9_]*: ' <<<"$theirs")" "$(script diff "$profile")"
    export HEADWATER_SYSCTL_D=$work/shown.conf
    is "persist $profile, shown" "$("$HEADWATER" sysctl persist "$profile")" "$(script persist "$profile")"
    is "and not written" no "$([[ -e $work/shown.conf ]] && echo yes || echo no)"
    HEADWATER_SYSCTL_D=$work/binary.conf "$HEADWATER" sysctl persist "$profile" --yes >/dev/null
    HEADWATER_SYSCTL_D=$work/script.conf script persist "$profile" --yes >/dev/null
    is "persist $profile" "$(<"$work/binary.conf")" "$(<"$work/script.conf")"
    rm "$work/binary.conf" "$work/script.conf"
    before=$(values "$host")
    is "check $profile before" 1 "$(status script check "$profile")"
    script apply "$profile" --yes >"$work/script.out"
    by_script=$(values "$host")
    snapshot=$(cat "$HEADWATER_STATE_DIR"/*.snapshot)
    is "check $profile after" 0 "$(status "$HEADWATER" sysctl check "$profile")"
    "$HEADWATER" sysctl revert >/dev/null
    is "headwater reverts what the script applied: $profile" "$before" "$(values "$host")"
    "$HEADWATER" sysctl apply "$profile" --yes >"$work/binary.out"
    is "both set the same: $profile" "$by_script" "$(values "$host")"
    is "both say the same: $profile" "$(sed '$d' "$work/binary.out")" "$(sed '$d' "$work/script.out")"
    is "both keep the same: $profile" "$(cat "$HEADWATER_STATE_DIR"/*.snapshot)" "$snapshot"
    script revert >/dev/null
    is "the script reverts what headwater applied: $profile" "$before" "$(values "$host")"
    is "the snapshot is gone" 0 "$(find "$HEADWATER_STATE_DIR" -name '*.snapshot' | wc -l)"
  done

  fresh
  rm "$host/net/core/netdev_max_backlog"
  printf 'net.core.netdev_max_backlog = 16384\nnet.core.somaxconn = 80000\n' >"$work/mine.conf"
  is "all or nothing" 1 "$(status script apply "$work/mine.conf" --yes --all-or-nothing)"
  is "shown the same" "$("$HEADWATER" sysctl apply "$work/mine.conf" | tail -n 1)" "$(script apply "$work/mine.conf" | tail -n 1)"
  is "but for what can't be set" 3 "$(status script apply "$work/mine.conf" --yes)"
  is "set" 80000 "$(<"$host/net/core/somaxconn")"
  is "check takes no offence" 0 "$(status script check "$work/mine.conf")"
  "$HEADWATER" sysctl revert >/dev/null
  is "headwater leaves the same out" 3 "$(status "$HEADWATER" sysctl apply "$work/mine.conf" --yes)"
  is "set by headwater" 80000 "$(<"$host/net/core/somaxconn")"
  printf 'net.core.netdev_max_backlogg = 16384\n' >"$work/mine.conf"
  is "a mistyped key" "1 1" "$(status script apply "$work/mine.conf" --yes) $(status "$HEADWATER" sysctl apply "$work/mine.conf" --yes)"

  fresh
  before=$(values "$host")
  script apply container --yes >/dev/null
  "$HEADWATER" sysctl apply live-stream --yes >/dev/null
  script apply high-connections --yes >/dev/null
  script revert >/dev/null
  is "three applies, one revert" "$before" "$(values "$host")"

  printf 'net.core.somaxconn = 80000\nnet.ipv4.tcp_tw_recycle = 1\n' >"$work/mine.conf"
  is "a refused key stops all" 1 "$(status script apply "$work/mine.conf" --yes)"
  is "and changes nothing" "$before" "$(values "$host")"
  printf 'net/core/somaxconn = 80000\n' >"$work/mine.conf"
  script apply "$work/mine.conf" --yes >/dev/null
  is "a key with slashes" 80000 "$(<"$host/net/core/somaxconn")"
  sed -i 's/was 70000/was 7/' "$HEADWATER_STATE_DIR"/*.snapshot
  is "a damaged snapshot is not believed" 1 "$(status script revert)"
  is "and changes nothing" 80000 "$(<"$host/net/core/somaxconn")"
  is "an unknown profile" "1 3" "$(status script diff nothing) $(status script check nothing)"

  unset HEADWATER_PROC_SYS
  if [[ ${1:-} == --inside ]]; then
    rm -rf "$HEADWATER_STATE_DIR"
    before=$(sysctl -a --pattern '^net\.' 2>/dev/null)
    script apply container --yes >/dev/null
    is "in a namespace: applied" 0 "$(status "$HEADWATER" sysctl check container)"
    script revert >/dev/null
    is "in a namespace: all as before" "$before" "$(sysctl -a --pattern '^net\.' 2>/dev/null)"
    printf 'net.core.somaxconn = 60001\nnet.ipv4.tcp_fin_timeout = 99999999999\n' >"$work/mine.conf"
    was=$(</proc/sys/net/core/somaxconn)
    printf '#@ better exact\n' >"$work/exact.conf"
    sed 'i #@ better exact' "$work/mine.conf" >>"$work/exact.conf"
    is "in a namespace: EINVAL" 1 "$(status script apply "$work/exact.conf" --yes)"
    is "in a namespace: undone" "$was" "$(</proc/sys/net/core/somaxconn)"
    if [[ $shell == "${shells[0]}" ]]; then
      sysctl -p sysctl/container.conf >/dev/null
      is "sysctl -p takes the profile as it is" 65535 "$(</proc/sys/net/core/somaxconn)"
      "$HEADWATER" sysctl show container | sysctl -p - >/dev/null
      is "and as shown" 0 "$(status "$HEADWATER" sysctl check container)"
    fi
  fi
done

echo
echo "$checks checks, $failed failed"
((failed == 0))
