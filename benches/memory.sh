#!/usr/bin/env bash
# Memory of the core and its workers while the demo runs, from /proc/<pid>/smaps_rollup, and the time to the first
# prediction. Usage: benches/memory.sh [PROGRAM], by default the dist build (cargo build --profile dist).
#
# RSS counts shared pages in every process that maps them; PSS divides them among those, so that PSS adds up.
set -euo pipefail
program=${1:-target/dist/margay}
[ -x "$program" ] || { echo "$program is not there: cargo build --profile dist" >&2; exit 2; }
work=$(mktemp -d)
trap 'kill "$demo" 2>/dev/null; wait "$demo" 2>/dev/null; rm -rf "$work"' EXIT

started=$(date +%s.%N)
"$program" demo --dir "$work/demo" >"$work/out" 2>&1 &
demo=$!
until grep -q '^frame' "$work/out"; do sleep 0.05; kill -0 "$demo"; done
first=$(date +%s.%N)
sleep 10 # steady state: buffers have their size, start-up pages are counted

row() { # row NAME PID
    awk -v name="$1" -v pid="$2" '
        /^Rss:/ { rss = $2 } /^Pss:/ { pss = $2 } /^Private_Dirty:/ { dirty = $2 }
        END { printf "%-10s %7d %8.1f %8.1f %8.1f\n", name, pid, rss / 1024, pss / 1024, dirty / 1024 }
    ' "/proc/$2/smaps_rollup"
}

core=$(pgrep -P "$demo" -f ' run --')
printf '%-10s %7s %8s %8s %8s   (MiB)\n' process pid RSS PSS private
row demo "$demo"
row core "$core"
"$program" status --config "$work/demo/greengrass/config/config.json" --json |
    python3 -c 'import json, sys
status = json.load(sys.stdin)
for worker in [*status["cameras"][0]["classifier"]["workers"], status["page"]["worker"]]: print(worker["role"], worker["pid"])' |
    while read -r role pid; do row "$role" "$pid"; done
printf 'first prediction after %.2f s\n' "$(echo "$first - $started" | bc)"
