#!/bin/sh
# Puts back what sysctl-apply.sh or headwater sysctl apply has changed, also after one of them
# was cut short. The snapshot is removed once every setting is as it was.
. "$(dirname "$0")/sysctl-common.sh"
usage "usage: $0" "$@"
if [ ! -e "$snapshot" ]; then
  echo "nothing to put back: there is no \"$snapshot\""
  exit 0
fi
lock
if ! load_snapshot; then
  rm -f "$snapshot"
  echo "nothing to put back: the host has restarted since, and what was applied is gone"
  exit 0
fi
# Last first: the entries have three lines each.
entries=$(echo "$loaded" | awk '
  { line[NR] = substr($0, 5) }
  END { for (i = NR - 2; i > 0; i -= 3) print line[i] "|" line[i + 1] "|" line[i + 2] }')
stuck=0
while IFS='|' read -r key was set; do
  now=$(words "$(cat "$(path_of "$key")" 2>/dev/null || true)")
  was_words=$(words "$was")
  if [ "$now" = "$was_words" ]; then
    echo "$key = $was_words (it was so)"
  elif write "$key" "$was" && [ "$(words "$read")" = "$was_words" ]; then
    from=$now
    [ "$now" = "$(words "$set")" ] || from="$now, which headwater had not asked for"
    echo "$key = $was_words (from $from)"
  else
    echo "$key is not back at $was_words"
    stuck=$((stuck + 1))
  fi
done <<EOF
$entries
EOF
[ "$stuck" -eq 0 ] || fail "$stuck settings are not back; the snapshot stays in \"$snapshot\""
rm -f "$snapshot"
sync
