# shellcheck shell=bash disable=SC2016,SC2154 # programs of awk, and what bench-archive.sh sets
# The tables, in Markdown. Sourced.

# table FILE PROGRAM: what awk makes of a file of tab-separated lines; mib() and ratio() are there.
table() {
    awk -F '\t' "function mib(bytes) { return sprintf(\"%.1f\", bytes / 1048576) }
        function kib(bytes) { return sprintf(\"%.1f\", bytes / 1024) }
        function ratio(a, b) { return b > 0 ? sprintf(\"%.2f\", a / b) : \"-\" } $2" "$1"
}

# seconds NAME: the median of what was measured under that name.
seconds() { awk -F '\t' -v name="$1" '$1 == name { print $2 }' "$work/speed.tsv" | median; }

# compare WHAT OURS THEIRS: a row.
compare() {
    awk -v what="$1" -v ours="$(seconds "$2")" -v theirs="$(seconds "$3")" 'BEGIN { printf "| %s | %.2f |\n", what, ours / theirs }'
}

report() {
    cat <<END
# The archive's growth and speed

Made by \`make bench-archive\`: Packhold $("$packhold" --version | cut -d ' ' -f 2) (release build), $(restic version | cut -d ' ' -f 1,2), $(skopeo --version),
zstd $(zstd --version | grep -o 'v[0-9.]*'), Docker $(docker version --format '{{.Server.Version}}'); $(nproc) cores, Linux $(uname -r | cut -d - -f 1). Bytes are sums of file sizes; "disk" is what
\`du -B1\` says, in which a file of a few bytes costs a block. Times are measured in turns in one run, and given as ratios only.
END
    if [ -s "$work/images.tsv" ]; then report_images; fi
    if [ -s "$work/normalised.tsv" ]; then report_normalised; fi
    if [ -s "$work/commits.tsv" ]; then report_commits; fi
    if [ -s "$work/speed.tsv" ]; then report_speed; fi
}

report_images() {
    cat <<END

## Successive rebuilds of a builder image

Userland and build tools installed anew each time, with no normalisation; the second has the packages of the first, then one package is added
at a time, and updates come in from the middle on. MiB in all after each.

| rebuild | \`docker save\` | zstd -3 of each | skopeo, OCI layout | restic auto | restic max | Packhold | disk | files | to restic auto | to restic max |
|---|---|---|---|---|---|---|---|---|---|---|
END
    table "$work/images.tsv" '{ printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", $1, mib($2), mib($3), mib($4), mib($7), mib($10), mib($13), mib($14), $15, ratio($13, $7), ratio($13, $10) }'
}

report_normalised() {
    cat <<END

The same made by Packhold's builders, from nothing each time: images and archive are removed before. Ids of the base, builder and deps image, and an
archive of all of them.

| rebuild | base | builder | deps | MiB | files |
|---|---|---|---|---|---|
END
    table "$work/normalised.tsv" '{ printf "| %s | %s | %s | %s | %s | %s |\n", $1, substr($2, 8, 12), substr($3, 8, 12), substr($4, 8, 12), mib($5), $7 }'
}

report_commits() {
    cat <<END

## Commits of the demo agent

One run each (a deb and an rpm), all into one archive. Verification is limited to installing and the integrity of files. "Changed artifacts" are
compressed with zstd -3 one by one. The others get the same files of each run, without images; skopeo stores no runs. KiB that each commit adds, from the
second on.

| commit | changed artifacts | tar, zstd -3 | restic auto | restic max | Packhold | disk | files | to the artifacts |
|---|---|---|---|---|---|---|---|---|
END
    table "$work/commits.tsv" '
        function row(name, n) { printf "| %s | %s | %s | %s | %s | %s | %s | %.1f | %s |\n", name, kib(art / n), kib(tar / n), kib(auto / n), kib(max / n), kib(ours / n), kib(disk / n), files / n, ratio(ours, art) }
        NR > 1 {
            art = $2; tar = $3 - was[3]; auto = $4 - was[4]; max = $7 - was[7]; ours = $10 - was[10]; disk = $11 - was[11]; files = $12 - was[12]
            if (NR <= 4) row($1, 1)
            a += art; first = first ? first : NR
        }
        NR == 1 { for (i = 1; i <= NF; i++) start[i] = $i }
        { for (i = 1; i <= NF; i++) was[i] = $i }
        END { art = a; tar = was[3] - start[3]; auto = was[4] - start[4]; max = was[7] - start[7]; ours = was[10] - start[10]; disk = was[11] - start[11]; files = was[12] - start[12]; row("mean of " NR - 1, NR - 1) }'
}

report_speed() {
    cat <<END

## Speed

An image of $(stat -c %s "$work/images/1.tar" | awk '{ printf "%.0f", $1 / 1048576 }') MiB; medians of $(grep -c '^ingest	' "$work/speed.tsv") rounds; smaller than 1 is quicker than what it is compared with.

| what | ratio |
|---|---|
END
    compare "\`docker save\` into Packhold : into \`zstd -3 -T1\`" ingest-save zstd-save
    compare "\`docker save\` into Packhold : into \`zstd -3 -T0\`" ingest-save zstd-save-all
    compare "the same stream from a file : \`zstd -3 -T1\`" ingest zstd
    compare "the same stream from a file : \`zstd -3 -T0\`" ingest zstd-all
    compare "the same image again : \`sha256sum\` of the stream" known hash
    compare "a rebuilt image of the same packages : \`sha256sum\` of the stream" rebuilt hash-again
    compare "restored into Docker by Packhold : \`zstd -d\` into \`docker load\`" restore zstd-load
    compare "Packhold into \`docker load\` : \`zstd -d\` into it" export-load zstd-load
    compare "the stream alone : \`zstd -d\`" export zstd-export
    printf '\n| memory at most | MiB |\n|---|---|\n'
    table "$work/memory.tsv" '{ printf "| %s | %.1f |\n", $1, $2 / 1024 }'
}
