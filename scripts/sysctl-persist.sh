#!/bin/sh
# Writes, with --yes, a profile, with the values that sysctl-apply.sh would give this host, to
# /etc/sysctl.d/60-headwater.conf, which is read at every start of the host; --remove takes it back.
. "$(dirname "$0")/sysctl-common.sh"
usage "usage: $0 PROFILE [--yes] [--allow-lower] | --remove" "$@"
profile= remove= yes=
for word in "$@"; do
  case $word in
    --allow-lower) allow_lower=yes ;;
    --remove) remove=yes ;;
    --yes) yes=yes ;;
    *) profile=$word ;;
  esac
done
mark="# Written by headwater sysctl persist"
if [ -e "$sysctl_d" ]; then
  case $(head -n 1 "$sysctl_d") in
    "$mark"*) ;;
    *) fail "\"$sysctl_d\" was not written by headwater; name another file in HEADWATER_SYSCTL_D" ;;
  esac
fi
if [ -n "$remove" ]; then
  [ -e "$sysctl_d" ] || { echo "there is no \"$sysctl_d\"" && exit 0; }
  rm -f "$sysctl_d"
  echo "removed \"$sysctl_d\""
  exit 0
fi
[ -n "$profile" ] || fail "name a profile; see scripts/sysctl-list.sh" 2
file=$(profile_file "$profile")
rows=$(plan "$file")
refusals=$(echo "$rows" | grep '^refused|' | obstacles)
[ -z "$refusals" ] || fail "$refusals; remove its line"
values=$(echo "$rows" | while IFS='|' read -r verdict now would_be _ optional key wanted; do
  case $verdict in
    "would change") value=$would_be ;;
    "not on this kernel") value=$wanted ;;
    *) value=$now ;;
  esac
  echo "$optional$key = $(words "$value")"
done)
text() {
  echo "$mark: the profile $profile, with this host's values."
  echo "# Take it back with: headwater sysctl persist --remove"
  echo
  # Every line as it is, but for the settings, which come from the plan in the same order.
  grep -v '^#@' "$file" | awk -v values="$values" '
    BEGIN { split(values, value, "\n") }
    /^[ \t]*[#;]/ || /^[ \t]*$/ { print; next }
    { print value[++n] }'
}
if [ -z "$yes" ]; then
  text
  echo
  echo "To write this to \"$sysctl_d\": --yes"
  exit 0
fi
mkdir -p "$(dirname "$sysctl_d")"
temporary=$(dirname "$sysctl_d")/.$(basename "$sysctl_d").$$.new
text >"$temporary"
chmod 644 "$temporary"
sync
mv "$temporary" "$sysctl_d"
sync
echo "wrote \"$sysctl_d\"; it takes effect at the next start, or now with: sysctl -p $sysctl_d"
