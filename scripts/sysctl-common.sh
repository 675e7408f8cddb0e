# What scripts/sysctl-*.sh share: headwater sysctl for hosts that have no headwater, in POSIX
# shell, with the same profiles, the same snapshots and the same exit status. Sourced by the others, not run.
#
#   HEADWATER_PROC_SYS    the tree of settings, if not /proc/sys
#   HEADWATER_STATE_DIR   folder of the snapshots, if not /var/lib/headwater/sysctl
#   HEADWATER_SYSCTL_D    file that sysctl-persist.sh writes, if not /etc/sysctl.d/60-headwater.conf
# shellcheck shell=sh
set -eu
LC_ALL=C
export LC_ALL

proc_sys=${HEADWATER_PROC_SYS:-/proc/sys}
state_dir=${HEADWATER_STATE_DIR:-/var/lib/headwater/sysctl}
sysctl_d=${HEADWATER_SYSCTL_D:-/etc/sysctl.d/60-headwater.conf}
profiles=$(cd "$(dirname "$0")/../sysctl" && pwd)
allow_lower=no
all_or_nothing=no

fail() {
  echo "$(basename "$0"): $1" >&2
  exit "${2:-1}"
}

# usage TEXT ARGUMENT...: prints the help if an argument asks for it.
usage() {
  text=$1
  shift
  for word in "$@"; do
    case $word in -h | --help) echo "$text" && exit 0 ;; esac
  done
}

# profile_file NAME: the file of a built-in profile, or of a path.
profile_file() {
  if [ -f "$profiles/$1.conf" ]; then
    echo "$profiles/$1.conf"
    return
  fi
  case $1 in
    */* | *.conf) [ -r "$1" ] && echo "$1" && return ;;
  esac
  fail "there is no profile \"$1\"; see scripts/sysctl-list.sh, or name a file as ./FILE.conf" "${unknown_status:-1}"
}

# path_of KEY: its file.
path_of() { echo "$proc_sys/$(echo "$1" | tr ./ /.)"; }

# words TEXT: with one space between any two.
words() {
  set -f
  # shellcheck disable=SC2086
  set -- $1
  set +f
  echo "$*"
}

is_number() {
  case ${1#-} in '' | *[!0-9]*) return 1 ;; esac
}

# compute EXPRESSION: what a "#@ compute" line comes to here.
compute() {
  memory_kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB.*/\1/p' /proc/meminfo)
  cpus=$(grep -c '^cpu[0-9]' /proc/stat)
  result=
  rest=$1,
  while [ -n "$rest" ]; do
    part=${rest%%,*}
    rest=${rest#*,}
    set -f
    # shellcheck disable=SC2086
    set -- $part
    set +f
    case ${1:-} in
      memory_kib) value=$memory_kib ;;
      cpus) value=$cpus ;;
      *) is_number "${1:-}" && value=$1 || fail "cannot compute \"$part\"" ;;
    esac
    shift
    while [ $# -gt 0 ]; do
      operator=$1
      shift
      if [ "$operator" = at ]; then
        operator="at ${1:-}"
        shift || true
      fi
      is_number "${1:-}" || fail "cannot compute \"$part\""
      case $operator in
        '*') value=$((value * $1)) ;;
        /) value=$((value / $1)) ;;
        'at least') [ "$value" -ge "$1" ] || value=$1 ;;
        'at most') [ "$value" -le "$1" ] || value=$1 ;;
        *) fail "cannot compute \"$part\"" ;;
      esac
      shift
    done
    result="$result $value"
  done
  words "$result"
}

# settings FILE: its settings, one a line: better|scope|optional|key|value, and for a key of
# which the file does not say what is better, what the built-in profiles say of it.
settings() {
  better= scope= expression=
  while IFS= read -r line || [ -n "$line" ]; do
    line=$(echo "$line" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//')
    case $line in
      '#@ better '*) better=${line#'#@ better '} ;;
      '#@ scope '*) scope=${line#'#@ scope '} ;;
      '#@ compute '*) expression=${line#'#@ compute '} ;;
      '' | '#'* | ';'*) ;;
      *=*)
        optional=
        case $line in -*) optional=- line=${line#-} ;; esac
        key=$(echo "${line%%=*}" | tr -d '[:space:]')
        # With slashes between its parts it is the same name.
        case $key in
          *[!A-Za-z0-9_./-]* | *..* | /*) fail "$1: \"$key\" is no setting's name" ;;
        esac
        case ${key%%[./]*} in "$key") fail "$1: \"$key\" is no setting's name" ;; esac
        first=${key%%[./]*}
        case ${key#"$first"} in /*) key=$(echo "$key" | tr ./ /.) ;; esac
        value=$(words "${line#*=}")
        [ -z "$expression" ] || value=$(compute "$expression")
        [ -n "$better" ] || better=$(note_of better "$key")
        [ -n "$scope" ] || scope=$(note_of scope "$key")
        echo "${better:-exact}|${scope:-unknown}|$optional|$key|$value"
        better= scope= expression=
        ;;
      *) fail "$1: \"$line\" is no setting; write KEY = VALUE" ;;
    esac
  done <"$1"
}

# note_of NOTE KEY: what the built-in profiles note of a key.
note_of() {
  sed -n "s/^#@ $1 //p; s/^-*\([a-z_.]*[a-z0-9_.]*\) =.*/= \1/p" "$profiles"/*.conf |
    awk -v key="$2" '$1 == "=" { if ($2 == key) { print note; exit } next } { note = $0 }'
}

# better_of NOW WANTED BETTER: the better of both, number by number; WANTED where numbers say nothing.
better_of() {
  [ "$3" != exact ] && [ "$allow_lower" = no ] || { echo "$2" && return; }
  rest=$2
  best=
  count=0
  for a in $1; do
    b=${rest%% *}
    case $rest in *' '*) rest=${rest#* } ;; *) rest= ;; esac
    is_number "$a" && is_number "$b" || { echo "$2" && return; }
    case $3:$count in
      lower:* | wider:0) [ "$a" -le "$b" ] && best="$best $a" || best="$best $b" ;;
      *) [ "$a" -ge "$b" ] && best="$best $a" || best="$best $b" ;;
    esac
    count=$((count + 1))
  done
  [ -z "$rest" ] && [ "$count" -gt 0 ] || { echo "$2" && return; }
  [ "$3" != wider ] || [ "$count" -eq 2 ] || { echo "$2" && return; }
  words "$best"
}

# refused KEY VALUE: the reason why it should not be set, or nothing.
refused() {
  case "$1 $2" in
    net.ipv4.tcp_tw_recycle*) echo "it broke clients behind a NAT and was removed in Linux 4.12" ;;
    "net.ipv4.tcp_timestamps 0") echo "without timestamps old packets can get into new connections" ;;
    "net.ipv4.tcp_sack 0") echo "without selective acknowledgements each lossy path is slow" ;;
    "net.ipv4.tcp_window_scaling 0") echo "no connection would have more than 64 KiB in flight" ;;
    "net.ipv4.tcp_moderate_rcvbuf 0") echo "it turns the kernel's own sizing of receive buffers off" ;;
    "net.ipv4.tcp_syncookies 0") echo "without syncookies one SYN flood blocks all new clients" ;;
    "net.ipv4.tcp_syncookies 2") echo "it is for tests: cookies take TCP options away" ;;
    "net.ipv4.tcp_abort_on_overflow 1") echo "a burst then resets clients that would have been served" ;;
    "kernel.randomize_va_space 0" | "kernel.randomize_va_space 1")
      echo "it makes attacks easier and nothing faster" ;;
    "net.ipv4.tcp_low_latency "* | "net.ipv4.tcp_fack "* | "net.ipv4.tcp_adv_win_scale "* | \
      "net.ipv4.udp_wmem_min "* | "net.core.warnings "*) echo "it has no effect any more" ;;
    "vm.drop_caches "*) echo "it is an action, not a setting" ;;
  esac
}

# plan FILE: each setting with its verdict: verdict|now|would be|scope|optional|key|wanted
plan() {
  settings "$1" | while IFS='|' read -r better scope optional key wanted; do
    path=$(path_of "$key")
    now= would_be=
    if [ -n "$(refused "$key" "$wanted")" ]; then
      verdict=refused
      [ ! -r "$path" ] || now=$(cat "$path")
    elif [ ! -e "$path" ]; then
      verdict="not on this kernel"
    elif ! now=$(cat "$path" 2>/dev/null); then
      verdict="not permitted"
    else
      would_be=$(better_of "$(words "$now")" "$wanted" "$better")
      if [ "$(words "$now")" = "$wanted" ]; then
        verdict=same
      elif [ "$(words "$now")" = "$would_be" ]; then
        verdict="better than wanted"
      elif ! (: >>"$path") 2>/dev/null; then
        verdict="not permitted"
      else
        verdict="would change"
      fi
    fi
    echo "$verdict|$now|$would_be|$scope|$optional|$key|$wanted"
  done
}

# obstacles: of a plan on standard input, what keeps it from being carried out whole.
obstacles() {
  while IFS='|' read -r verdict _ _ scope optional key wanted; do
    case $verdict in
      refused) echo "$key is refused: $(refused "$key" "$wanted")" ;;
      not*)
        [ -n "$optional" ] || { [ "$scope" = global ] && [ "$all_or_nothing" = no ]; } ||
          echo "$key is $verdict"
        ;;
    esac
  done
}

# left_out: of a plan on standard input, the settings of the whole host that can't be set from here.
left_out() {
  while IFS='|' read -r verdict _ _ scope optional key _; do
    case $verdict:$scope:$optional in not*:global:) echo "$key is left out: $verdict" ;; esac
  done
}

table() {
  {
    echo "key|now|wanted|verdict|touches"
    while IFS='|' read -r verdict now would_be scope optional key wanted; do
      now=$(words "$now")
      if [ "$verdict" = "would change" ] && [ "$would_be" != "$wanted" ]; then
        verdict="would change to $would_be"
      fi
      echo "$optional$key|${now:--}|$wanted|$verdict|$scope"
    done
  } | awk -F'|' '
    { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
    END {
      for (row = 1; row <= NR; row++) {
        line = ""
        for (i = 1; i <= 5; i++) line = line sprintf("%-" width[i] "s  ", cell[row, i])
        sub(/ +$/, "", line)
        print line
      }
    }'
}

# ---- snapshots: the same text as headwater's ----------------------------------

boot=$(cat /proc/sys/kernel/random/boot_id)
snapshot=$state_dir/net-$(readlink /proc/self/ns/net | tr -cd 0-9).snapshot

# load_snapshot: its lines without the checksum, in $loaded; 1 if there is none of this boot.
load_snapshot() {
  loaded=
  [ -e "$snapshot" ] || return 1
  last=$(tail -n 1 "$snapshot")
  if [ "$last" != "cksum $(sed '$d' "$snapshot" | cksum)" ] ||
    [ "$(head -n 1 "$snapshot")" != "headwater-sysctl 1" ]; then
    fail "the snapshot \"$snapshot\" is damaged, its checksum does not fit; nothing was changed; read the old values in it yourself, set them with sysctl -w, and remove the file"
  fi
  [ "$(sed -n '2s/^boot //p' "$snapshot")" = "$boot" ] || return 1
  loaded=$(sed '1,3d; $d' "$snapshot")
}

# store_snapshot PROFILE: the entries on standard input, on the disk before it returns.
store_snapshot() {
  umask 077
  temporary=$snapshot.$$.new
  { printf 'headwater-sysctl 1\nboot %s\nprofile %s\n' "$boot" "$1" && cat; } >"$temporary"
  sum=$(cksum <"$temporary")
  echo "cksum $sum" >>"$temporary"
  sync
  mv "$temporary" "$snapshot"
  sync
}

# lock: one of us at a time, as far as the host has flock(1).
lock() {
  mkdir -p "$state_dir" || fail "cannot keep what the settings were in \"$state_dir\"; nothing was changed"
  exec 9>>"$state_dir/lock"
  if command -v flock >/dev/null && ! flock -n 9; then
    fail "another headwater is changing settings just now; try again when it is done"
  fi
}

# write KEY VALUE: writes it and reads it back into $read; 1 if the kernel refused it.
write() {
  path=$(path_of "$1")
  read=
  # The subshell takes the complaint, whose wording differs from shell to shell.
  (printf '%s\n' "$2" >"$path") 2>/dev/null || return 1
  read=$(cat "$path")
}
