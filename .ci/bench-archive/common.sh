# shellcheck shell=bash disable=SC2016,SC2154 # programs of awk, and what bench-archive.sh sets
# What the parts of bench-archive.sh share. Sourced.
# $work: the folder of the benchmark. $packhold, $bench: the programs, release builds.

say() { echo "bench-archive: $*" >&2; }

# stored FOLDER: bytes in its files, bytes that it takes on the disk, files; with tabs between them.
stored() {
    local bytes files
    read -r bytes files < <(find "$1" -type f -printf '%i %s\n' | awk '!seen[$1]++ { sum += $2 } END { print sum + 0, NR + 0 }')
    printf '%s\t%s\t%s' "$bytes" "$(du -s -B1 "$1" | cut -f 1)" "$files"
}

# restic_in REPOSITORY ARGUMENT…: one password for all, and no cache that would be counted nowhere.
restic_in() {
    local repository=$1
    shift
    RESTIC_PASSWORD=bench restic --repo "$repository" --no-cache --quiet "$@"
}

# restic_open REPOSITORY: makes it if it is not there. Version 2 is the first that compresses.
restic_open() {
    [ -e "$1/config" ] || restic_in "$1" init --repository-version 2
}

# median: of the numbers on standard input, one a line.
median() {
    sort -g | awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'
}
