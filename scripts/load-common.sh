# What the load-*.sh scripts share; they source it. Bash. HEADWATER names another binary,
# HEADWATER_LOAD_ARGUMENTS has more arguments for every load.

HEADWATER=${HEADWATER:-$(dirname "${BASH_SOURCE[0]}")/../target/release/headwater}

# help_of SCRIPT: prints the head of the calling script for --help.
help_of() { sed -n '2,/^$/s/^# \{0,1\}//p' "$1"; }

# Takes --help, --out DIR, --pid PID and --i-own-this-host off the arguments; the rest goes to `rest`.
take_options() {
  out= pid=() own=0 rest=()
  while (($#)); do
    case $1 in
      -h | --help) help_of "$0"; exit 0 ;;
      --out) out=${2:?--out needs a folder}; shift ;;
      --pid) pid=(--pid "${2:?--pid needs a number}"); shift ;;
      --i-own-this-host) own=1 ;;
      -*) echo "$0: unknown option $1; see --help" >&2; exit 2 ;;
      *) rest+=("$1") ;;
    esac
    shift
  done
}

# refuse_foreign URL: ends the script unless the URL's host is this one, or its owner says so. Private
# addresses are test networks.
refuse_foreign() {
  local host=${1#*://}
  host=${host%%[/?#]*}
  case $host in
    \[*) host=${host%%]*}; host=${host#\[} ;;
    *) host=${host%%:*} ;;
  esac
  ((own)) && return 0
  case $host in
    localhost | 127.* | ::1 | 10.* | 192.168.* | 172.1[6-9].* | 172.2[0-9].* | 172.3[01].* | f[cd]??:*)
      # A name may begin like an address; only numbers are one.
      [[ $host == localhost || $host =~ ^[0-9.]+$ || $host == *:* ]] && return 0 ;;
  esac
  echo "$0: $host is neither loopback nor a private test network: a load may stop a server that others need;" \
    "add --i-own-this-host if it is yours" >&2
  exit 2
}

# Ends the script where the program is not there.
need_headwater() {
  [[ -x $HEADWATER ]] && return 0
  echo "$0: $HEADWATER is not there; build it with: cargo build --release" >&2
  exit 1
}

# begin NAME: checks the URL and the program, and makes the report folder.
begin() {
  url=${rest[0]:-http://127.0.0.1:8080/}
  refuse_foreign "$url"
  need_headwater
  out=${out:-load-$1-$(date +%Y%m%d-%H%M%S)}
  mkdir -p "$out"
}

# load NAME ARGUMENTS...: one load, whose table, page, JSON and histogram log go to the report folder. Goes
# on after a load that reports errors or a rate that was not reached, and remembers it.
status=0
load() {
  local name=$1 result=0
  shift
  echo "== $name"
  # shellcheck disable=SC2086 # arguments, not one argument
  "$HEADWATER" load "$url" "$@" "${pid[@]}" ${HEADWATER_LOAD_ARGUMENTS:-} --json "$out/$name.json" \
    --hdr "$out/$name.hlog" --report "$out/$name.html" |
    tee "$out/$name.txt" || result=${PIPESTATUS[0]}
  ((result == 0)) || status=$result
  ((result != 1 && result != 2 && result < 128)) || exit "$result"
}

# Writes the folder's own page, and ends the script with the last status that was not 0.
finish() {
  echo "report: $("$HEADWATER" load index "$out")"
  exit "$status"
}
