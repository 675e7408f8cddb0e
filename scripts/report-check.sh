#!/usr/bin/env bash
# Opens reports of headwater load in Chromium, as on a phone (375 px wide) and on a desk (1280 px): none may
# be wider than the window, ask for anything, or have the browser complain.
#
#   scripts/report-check.sh FILE.html...
#
# Needs chromium; CHROMIUM names another binary.

set -euo pipefail
if (($# == 0)) || [[ $1 == -h || $1 == --help ]]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
  exit "$(($# == 0 ? 2 : 0))"
fi
chromium=${CHROMIUM:-chromium}
command -v "$chromium" >/dev/null || { echo "chromium is missing: apt-get install chromium" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/headwater-report-XXXXXX")
trap 'rm -rf "$work"' EXIT

# A page that shows the others in frames and writes down what it sees. They are copied, so that names need
# no quoting; a frame of a copy is as wide as a window, and its styles see that width.
count=0
for file in "$@"; do
  cp -- "$file" "$work/$count.html"
  printf '%s\n' "$file" >>"$work/names"
  count=$((count + 1))
done
cat >"$work/all.html" <<PAGE
<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><body><pre id="found"></pre><script>
addEventListener("load", async () => {
  let found = "";
  for (let page = 0; page < $count; page++) for (const width of [375, 1280]) {
    const frame = document.createElement("iframe");
    frame.style = "width:" + width + "px;height:800px;border:0";
    const loaded = new Promise((done) => { frame.onload = done; });
    frame.src = page + ".html";
    document.body.append(frame);
    await loaded;
    const shown = frame.contentDocument;
    const fetched = frame.contentWindow.performance.getEntriesByType("resource").length;
    // A drawing is as wide as it is shown; letters beyond its edge are cut.
    let cut = 0;
    for (const drawing of shown.querySelectorAll("svg")) {
      const edge = drawing.getBoundingClientRect().right + 1;
      for (const text of drawing.querySelectorAll("text")) cut += text.getBoundingClientRect().right > edge;
    }
    found += ["page", page, width, shown.documentElement.scrollWidth, fetched, cut].join(" ") + "\n";
    frame.remove();
  }
  document.getElementById("found").textContent = found + "done\n";
});
</script></body>
PAGE
timeout 60 "$chromium" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" \
  --allow-file-access-from-files --enable-logging=stderr --virtual-time-budget=60000 --dump-dom \
  "file://$work/all.html" >"$work/dom" 2>"$work/log" || { tail -5 "$work/log" >&2; exit 1; }

failed=0
fail() { echo "FAILED: $*"; failed=1; }
grep -q '^done' "$work/dom" || fail "the pages were not looked at to the end"
while read -r _ page width shown fetched cut; do
  name=$(sed -n "$((page + 1))p" "$work/names")
  ((shown <= width)) || fail "$name is $shown px wide in a window of $width px"
  ((fetched == 0)) || fail "$name asks for $fetched other things"
  ((cut == 0)) || fail "$name has $cut words that leave their plot at $width px"
done < <(grep -o 'page [0-9 ]*$' "$work/dom")
if grep 'CONSOLE' "$work/log"; then fail "the browser complains"; fi
((failed == 0)) && echo "$count pages looked at: all well"
exit "$failed"
