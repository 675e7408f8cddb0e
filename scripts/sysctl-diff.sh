#!/bin/sh
# Compares a profile with what the host has; changes nothing.
. "$(dirname "$0")/sysctl-common.sh"
usage "usage: $0 PROFILE [--allow-lower]" "$@"
profile=
for word in "$@"; do
  case $word in
    --allow-lower) allow_lower=yes ;;
    *) profile=$word ;;
  esac
done
[ -n "$profile" ] || fail "name a profile; see scripts/sysctl-list.sh" 2
file=$(profile_file "$profile")
rows=$(plan "$file")
echo "$rows" | table
