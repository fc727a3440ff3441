# shellcheck shell=bash disable=SC2016,SC2154 # programs of awk, and what bench-archive.sh sets
# Ingest and restore beside zstd and Docker, one after the other in turns, so that whatever else the machine does hits all of them.
# Sourced.

# timed NAME COMMAND…: a line NAME<TAB>SECONDS in speed.tsv.
timed() {
    local name=$1 begun=$EPOCHREALTIME
    shift
    "$@"
    awk -v name="$name" -v begun="$begun" -v ended="$EPOCHREALTIME" 'BEGIN { printf "%s\t%.3f\n", name, ended - begun }' >>"$work/speed.tsv"
}

# in_turn NAME COMMAND…: the same for what Docker does most of, which waits for the disk: each finds it idle.
in_turn() {
    sync
    timed "$@"
}

# What must be there, or not, before the clock runs.
fresh() { rm -rf "$work/speed/new"; }
with_first() { rm -rf "$work/speed/rebuilt"; cp -r "$work/speed/known" "$work/speed/rebuilt"; }

ingest_save() { docker save "$1" | "$bench" ingest "$work/speed/new" >/dev/null; }
zstd_save() { docker save "$1" | zstd -3 -q -f "$2" -o "$work/speed/image.zst"; }
ingest_file() { "$bench" ingest "$work/speed/new" <"$1" >/dev/null; }
zstd_file() { zstd -3 -q -f "$2" -c <"$1" >"$work/speed/image.zst"; }
restore() { "$bench" restore "$work/speed/known" "$1" packhold-bench/restored:latest >/dev/null; }
export_load() { "$bench" export "$work/speed/known" "$1" | docker load --quiet >/dev/null; }
zstd_load() { zstd -q -d -c "$work/speed/known.zst" | docker load --quiet >/dev/null; }
export_only() { "$bench" export "$work/speed/known" "$1" | cat >/dev/null; }
zstd_only() { zstd -q -d -c "$work/speed/known.zst" | cat >/dev/null; }
ingest_known() { "$bench" ingest "$work/speed/known" <"$1" >/dev/null; }
ingest_rebuilt() { "$bench" ingest "$work/speed/rebuilt" <"$1" >/dev/null; }
hash_file() { sha256sum <"$1" >/dev/null; }

# measure_speed ROUNDS: with the first two rebuilds, which have the same packages. Where Docker takes part, each of three is the first,
# second and last in turn.
measure_speed() {
    local round turn saves restores id tag=packhold-bench/speed image=$work/images/1.tar again=$work/images/2.tar
    rm -rf "$work/speed"
    mkdir -p "$work/speed"
    : >"$work/speed.tsv"
    id=$("$bench" ingest "$work/speed/known" <"$image")
    zstd -3 -q -f "$image" -o "$work/speed/known.zst"
    # Both are in the page cache then.
    cat "$image" "$again" >/dev/null
    for round in $(seq "$1"); do
        say "round $round of $1"
        docker load --quiet <"$image" >/dev/null
        docker tag "$id" "$tag"
        sync
        docker save "$tag" >/dev/null
        saves=("ingest-save ingest_save $tag" "zstd-save zstd_save $tag -T1" "zstd-save-all zstd_save $tag -T0")
        for turn in 0 1 2; do
            fresh
            # shellcheck disable=SC2086 # words
            in_turn ${saves[(round + turn) % 3]}
        done
        remove_loaded "$id"
        fresh
        timed ingest ingest_file "$image"
        timed zstd zstd_file "$image" -T1
        timed zstd-all zstd_file "$image" -T0
        timed known ingest_known "$image"
        timed hash hash_file "$image"
        with_first
        timed rebuilt ingest_rebuilt "$again"
        timed hash-again hash_file "$again"
        timed export export_only "$id"
        timed zstd-export zstd_only
        restores=("restore restore" "export-load export_load" "zstd-load zstd_load")
        for turn in 0 1 2; do
            # shellcheck disable=SC2086 # words
            in_turn ${restores[(round + turn) % 3]} "$id"
            remove_loaded "$id"
        done
    done
    measure_memory "$image" "$id"
}

# remove_loaded ID: with all names that it has; the next load finds no layer of it.
remove_loaded() { docker image rm --force "$1" >/dev/null; }

# Peak memory in KiB (time(1), %M).
measure_memory() {
    local peak=(/usr/bin/time --format %M --output "$work/speed/peak")
    : >"$work/memory.tsv"
    rm -rf "$work/speed/new"
    "${peak[@]}" "$bench" ingest "$work/speed/new" <"$1" >/dev/null
    printf 'ingest\t%s\n' "$(cat "$work/speed/peak")" >>"$work/memory.tsv"
    "${peak[@]}" "$bench" ingest "$work/speed/known" <"$work/images/2.tar" >/dev/null
    printf 'ingest of a rebuilt image\t%s\n' "$(cat "$work/speed/peak")" >>"$work/memory.tsv"
    "${peak[@]}" "$bench" export "$work/speed/known" "$2" >/dev/null
    printf 'export\t%s\n' "$(cat "$work/speed/peak")" >>"$work/memory.tsv"
}
