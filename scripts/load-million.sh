#!/usr/bin/env bash
# A million requests a second: small answers, 64 connections, 16 requests deep. Give the server one
# core and this one another; the report says who was the bottleneck.
#
#   scripts/load-million.sh [URL] [--pid PID] [--out DIR] [--i-own-this-host]
#
# URL, http://127.0.0.1:8080/ unless named, should be a file of a few bytes. Leaves a folder with its
# table, page, JSON and histogram log.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/load-common.sh"
take_options "$@"
begin million
load million --connections 64 --pipeline 16 --warmup 1s --duration 10s
finish
