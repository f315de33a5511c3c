#!/usr/bin/env bash
# check.sh PROGRAM GUIDE.md: the program of a guide prints what the guide's text blocks say; empty lines do not count.
set -euo pipefail
blocks=$(dirname "${BASH_SOURCE[0]}")/blocks.awk
printed=$("$1")
diff --label "$2" --label "printed by $1" -u <(awk -v language=text -f "$blocks" "$2" | sed '/^$/d') <(sed '/^$/d' <<<"$printed")
