#!/usr/bin/env bash
# Viewers, each with a video player that seeks now and then: 10, 50, and 200 of them. How long until a
# video plays, and how often does it stall?
#
#   scripts/load-video.sh [URL] [TIME] [--pid PID] [--out DIR] [--i-own-this-host]
#
# URL is a video in an MP4 file, http://127.0.0.1:8080/video.mp4 unless named, TIME the length of each
# of the three loads (20s unless named). A video of five minutes and some 150 MB to try it with:
#
#   ffmpeg -f lavfi -i testsrc2=size=1280x720:rate=30 -t 300 -b:v 4M -pix_fmt yuv420p video.mp4
#
# With -movflags +faststart its index (moov) is at the front, where players look first, and not at its
# end. Leaves a folder with a table, JSON and a histogram log for each load.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/load-common.sh"
take_options "$@"
: "${rest[0]=http://127.0.0.1:8080/video.mp4}"
begin video
for viewers in 10 50 200; do
  load "viewers-$viewers" --connections "$viewers" --ranges player --player-seek 10s --duration "${rest[1]:-20s}"
done
finish
