#!/bin/sh
# Lists the profiles of the kernel's settings.
. "$(dirname "$0")/sysctl-common.sh"
usage "usage: $0" "$@"
for file in "$profiles"/*.conf; do
  name=$(basename "$file" .conf)
  count=$(grep -c '^[^#;]*=' "$file")
  printf '%-17s %2d settings  %s\n' "$name" "$count" "$(sed -n '1s/^# *//p' "$file")"
done
