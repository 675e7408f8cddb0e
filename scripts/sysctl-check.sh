#!/bin/sh
# Says by the exit status whether the host is as a profile wants it, as monitoring plugins do:
# 0 OK, 1 WARNING (a setting is not), 2 CRITICAL (the host has an unsafe value), 3 UNKNOWN.
. "$(dirname "$0")/sysctl-common.sh"
usage "usage: $0 PROFILE" "$@"
[ $# -eq 1 ] || fail "name one profile; see scripts/sysctl-list.sh" 2
unknown_status=3
file=$(profile_file "$1") || exit 3
rows=$(plan "$file") || exit 3
bad=
for key in net.ipv4.tcp_timestamps net.ipv4.tcp_sack net.ipv4.tcp_window_scaling net.ipv4.tcp_moderate_rcvbuf \
  net.ipv4.tcp_syncookies net.ipv4.tcp_abort_on_overflow kernel.randomize_va_space; do
  path=$(path_of "$key")
  [ -r "$path" ] || continue
  now=$(cat "$path")
  why=$(refused "$key" "$now")
  [ -z "$why" ] || bad="$bad; $key is $now: $why"
done
off=$(echo "$rows" | while IFS='|' read -r verdict now _ scope optional key wanted; do
  case $verdict in
    same | better*) ;;
    # What its value is can't be known from here.
    not*) [ -n "$optional" ] || { [ "$scope" = global ] && [ -z "$now" ]; } || printf '; %s is %s, not %s' "$key" "$verdict" "$wanted" ;;
    refused) printf '; %s is refused, not %s' "$key" "$wanted" ;;
    *) printf '; %s is %s, not %s' "$key" "$(words "$now")" "$wanted" ;;
  esac
done)
told=$bad$off
if [ -n "$bad" ]; then
  echo "CRITICAL: ${told#; }"
  exit 2
elif [ -n "$off" ]; then
  echo "WARNING: ${told#; }"
  exit 1
fi
echo "OK: $(echo "$rows" | grep -c .) settings of $1"
