#!/usr/bin/env bash
# fuzz.sh SECONDS [TARGET…]: runs the fuzz targets, all of them by default, two side by side, for so many seconds each, from the
# corpus in fuzz/corpus. What makes one fail is kept in fuzz/artifacts. New inputs go to fuzz/work and not into the corpus:
#
#   cargo fuzz cmin --sanitizer none TARGET    after copying them there, to take in what is new
#
# Inputs are chosen from the same seed each time, so that a test run fails for what was changed and not by chance; SEED=0 is another
# each time, to hunt. Memory is bounded by the targets themselves and here; an input may take a minute, on a busy machine.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
seconds=${1:?usage: fuzz.sh SECONDS [TARGET…]}
shift

# The targets are looked at for panics and for what they assert. The program has no unsafe code, so that a sanitizer would only
# be slower, and would need a compiler that is not stable.
for attempt in 1 2 3; do
    cargo fetch --quiet --locked && break
    [ "$attempt" -lt 3 ] || exit 1
    sleep $((attempt * 5))
done
cargo fuzz build --sanitizer none

# The readers sync what they write, which is pointless here.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm

mapfile -t targets < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else cargo fuzz list; fi)

run() {
    local target=$1 log=work/$1.log status=0
    mkdir -p "work/$target" artifacts
    # Scratch folders that an end by force leaves are not in the way of others.
    timeout --kill-after=10 $((seconds + 60)) \
        cargo fuzz run --sanitizer none "$target" "work/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -timeout=60 -rss_limit_mb=1024 -max_len=65536 -seed="${SEED:-1}" -print_final_stats=1 \
        >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        echo "fuzz: $target failed; the input is named at the end of its log, fuzz/$log:"
        tail -n 40 "$log"
        return 1
    fi
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
}

failed=0 running=0
for target in "${targets[@]}"; do
    if [ "$running" -ge 2 ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    run "$target" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
exit "$failed"
