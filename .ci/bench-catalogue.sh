#!/usr/bin/env bash
# How long list, show and search take in an archive of many runs, as a table: medians of the whole command, milliseconds, and
# beside them how long it takes to start the program at all.
#
#   .ci/bench-catalogue.sh [RUNS]        100000 by default
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-100000}
rounds=9
folder=$(mktemp -d "${BENCH_FOLDER:-/dev/shm}/packhold-catalogue.XXXXXX")
trap 'rm -rf "$folder"' EXIT

cargo build --quiet --locked --release --bin packhold --example many_runs
packhold=target/release/packhold
export PACKHOLD_ARCHIVE=$folder/archive
target/release/examples/many_runs "$PACKHOLD_ARCHIVE" "$runs" >"$folder/wanted"
{ read -r file; read -r id; } <"$folder/wanted"

# The median of what a command takes, milliseconds.
median() {
    local times=() start
    for _ in $(seq "$rounds"); do
        start=$(date +%s%N)
        "$@" >/dev/null
        times+=($((($(date +%s%N) - start) / 10000)))
    done
    printf '%s\n' "${times[@]}" | sort -n | sed -n "$((rounds / 2 + 1))p" | awk '{ printf "%.1f", $1 / 100 }'
}

start=$(date +%s%N)
"$packhold" archive list --limit 1 >/dev/null
made=$((($(date +%s%N) - start) / 1000000))

found=$("$packhold" archive list --artifact "$file" | cut -d' ' -f1)
[ "$found" = "$id" ] || { echo "bench-catalogue: $file is of run $id, and was found in: $found" >&2; exit 1; }

echo "| command, in an archive of $runs runs | ms |"
echo "|---|---|"
row() { echo "| \`$1\` | $(median "${@:2}") |"; }
row "packhold --version" "$packhold" --version
row "archive list --limit 20" "$packhold" archive list --limit 20
row "archive list (all of them)" "$packhold" archive list
row "archive list --format json (all of them)" "$packhold" archive list --format json
row "archive list --package" "$packhold" archive list --package agent-7
row "archive list --version" "$packhold" archive list --version 1.5
row "archive list --commit" "$packhold" archive list --commit 000000000000000000000000000000000000c3
row "archive list --target, --since, --until" "$packhold" archive list --target rocky-9/rpm --since 2020-10-01 --until 2020-10-02
row "archive list --artifact FILE" "$packhold" archive list --artifact "$file"
row "archive show ID" "$packhold" archive show "$id"
row "archive show latest" "$packhold" archive show latest
echo
echo "The catalogue was made of the blobs in $made ms; it has $(stat -c %s "$PACKHOLD_ARCHIVE/catalogue-1.sqlite") bytes, the index $(stat -c %s "$PACKHOLD_ARCHIVE/index.json")."
