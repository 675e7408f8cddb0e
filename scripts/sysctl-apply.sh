#!/bin/sh
# Changes the host's settings to a profile's: a dry run without --yes. What the settings are is
# first written to a snapshot; if the kernel refuses one value, all are put back.
. "$(dirname "$0")/sysctl-common.sh"
usage "usage: $0 PROFILE [--yes] [--allow-lower] [--all-or-nothing]" "$@"
profile= yes=
for word in "$@"; do
  case $word in
    --yes) yes=yes ;;
    --allow-lower) allow_lower=yes ;;
    --all-or-nothing) all_or_nothing=yes ;;
    *) profile=$word ;;
  esac
done
[ -n "$profile" ] || fail "name a profile; see scripts/sysctl-list.sh" 2
file=$(profile_file "$profile")
rows=$(plan "$file")
changes=$(echo "$rows" | grep '^would change|' || true)
left_out=$(echo "$rows" | left_out)
if [ -z "$yes" ]; then
  echo "$rows" | table
  echo
  note=
  [ -z "$left_out" ] || note="$(echo "$left_out" | grep -c .) can't be set from here and would be left out. "
  echo "$(echo "$changes" | grep -c .) settings would change, with what they are now in \"$snapshot\". ${note}To do it: --yes"
  exit 0
fi
obstacles=$(echo "$rows" | obstacles)
[ -z "$obstacles" ] ||
  fail "nothing was changed, as not all of $profile can be: $(echo "$obstacles" | tr '\n' ';') remove these lines in a copy of the profile, or write a - before those that may fail"
# 3: set, but for what can't be set from here.
done_status=0
[ -z "$left_out" ] || done_status=3
if [ -z "$changes" ]; then
  [ -z "$left_out" ] || echo "$left_out"
  echo "nothing to change"
  exit "$done_status"
fi
lock
before=
if load_snapshot; then
  before=$loaded
  before_profile=$(sed -n '3s/^profile //p' "$snapshot")
fi

# The old entries, with what is asked for now; then the new ones.
entries() {
  [ -z "$before" ] || echo "$before" | while IFS= read -r line; do
    case $line in
      'key '*) key=${line#key } ;;
      'set '*)
        new=$(echo "$changes" | awk -F'|' -v key="$key" '$6 == key { print $3 }')
        [ -z "$new" ] || line="set $new"
        ;;
    esac
    printf '%s\n' "$line"
  done
  echo "$changes" | while IFS='|' read -r _ now would_be _ _ key _; do
    echo "$before" | grep -qx "key $(echo "$key" | sed 's/\./\\./g')" && continue
    printf 'key %s\nwas %s\nset %s\n' "$key" "$now" "$would_be"
  done
}
entries | store_snapshot "$profile"

# In this shell, since it has to know what was done.
done_keys=
while IFS='|' read -r _ now would_be _ optional key _; do
  if write "$key" "$would_be"; then
    done_keys="$key $done_keys"
    if [ "$(words "$read")" = "$would_be" ]; then
      echo "$key = $would_be (was $(words "$now"))"
    else
      echo "$key = $(words "$read") (was $(words "$now")): the kernel made that of $would_be"
    fi
  elif [ -n "$optional" ]; then
    echo "$key stays $(words "$now"): $would_be was refused"
  else
    stuck=
    for one in $done_keys; do
      was=$(echo "$changes" | awk -F'|' -v key="$one" '$6 == key { print $2 }')
      write "$one" "$was" && [ "$(words "$read")" = "$(words "$was")" ] || stuck="$stuck $one"
    done
    [ -z "$stuck" ] ||
      fail "$key = $would_be was refused; and$stuck could not be put back: run scripts/sysctl-revert.sh"
    if [ -n "$before" ]; then
      echo "$before" | store_snapshot "$before_profile"
    else
      rm -f "$snapshot"
    fi
    fail "$key = $would_be was refused; what had been changed before it was put back"
  fi
done <<EOF
$changes
EOF
[ -z "$left_out" ] || echo "$left_out"
echo "to put it back: scripts/sysctl-revert.sh"
exit "$done_status"
