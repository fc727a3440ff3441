# shellcheck shell=bash disable=SC2016,SC2154 # programs of awk, and what bench-archive.sh sets
# Commits of the demo agent, each run with Packhold into one archive. Sourced.

# make_commits COUNT: the demo agent's repository with so many commits: its two, and small changes of its sources and documentation.
make_commits() {
    local repository=$work/hostpulse n
    [ ! -e "$work/hostpulse.complete" ] || return 0
    rm -rf "$repository"
    "$top/tests/fixtures/demo-agent/make-repository.sh" "$repository"
    for n in $(seq 3 "$1"); do
        case $((n % 3)) in
        0) echo "int revise_line_$n(int length) { return length + $n; }" >>"$repository/src/line.c" ;;
        1) echo "const char *const revision_$n = \"change $n of what is said at the start\";" >>"$repository/src/main.c" ;;
        2)
            echo "int weigh_sample_$n(int sample) { return sample * $n; }" >>"$repository/src/sample.c"
            printf '\nChange %s: what is measured is said here as well.\n' "$n" >>"$repository/README.md"
            ;;
        esac
        git -C "$repository" -c user.name=Bench -c user.email=bench@packhold.invalid commit --quiet --all --message "Change $n" \
            --date "2025-04-02T12:00:00+0000"
    done
    touch "$work/hostpulse.complete"
}

# The demo's pipeline with as little verification as there can be: what verify prints is no part of the growth that a commit causes by itself.
commits_pipeline() {
    sed '/^\[\[verify/,$d' "$top/pipelines/demo.toml"
    echo '[verify]'
    echo "skip = [${VERIFY_SKIP-\"smoke\", \"reinstall\", \"remove\", \"purge\", \"service\", \"upgrade\", \"no-docs\", \"lint\"}]"
}

# store_commits COUNT: a line for each in commits.tsv.
store_commits() {
    local at=$work/runs commit n=0 record changed zstd=0
    rm -rf "$at"
    mkdir -p "$at/restic"
    commits_pipeline >"$at/pipeline.toml"
    : >"$work/commits.tsv"
    echo digest >"$at/known"
    for commit in $(git -C "$work/hostpulse" rev-list --reverse HEAD | head -n "$1"); do
        n=$((n + 1))
        say "run commit $n of $1"
        "$packhold" run "$at/pipeline.toml" --archive "$at/packhold" --source "$work/hostpulse" --commit "$commit" --format json >"$at/events" 2>"$at/errors" ||
            { tail -n 1 "$at/events"; cat "$at/errors"; return 1; }
        record=$(tail -n 1 "$at/events")
        # Images are counted elsewhere: the first run brings them.
        jq -r '.targets[] | (.target | sub("/"; "_")) as $folder | .artifacts[] | [.digest, .size, $folder + "/" + .name] | @tsv' <<<"$record" >"$at/new"
        rm -rf "$at/files"
        "$bench" files "$at/packhold" "$(jq -r .id <<<"$record")" "$at/files"
        changed=$(awk -F '\t' 'NR == FNR { known[$1]; next } !($1 in known) { print $3 }' "$at/known" "$at/new" | while read -r name; do
            zstd -3 -q -c "$at/files/$name" | wc -c
        done | awk '{ sum += $1 } END { print sum + 0 }')
        cut -f 1 "$at/new" >>"$at/known"
        zstd=$((zstd + $(tar -C "$at/files" -c . | zstd -3 -q -c | wc -c)))
        for mode in auto max; do
            restic_open "$at/restic/$mode"
            restic_in "$at/restic/$mode" --compression "$mode" backup "$at/files"
        done
        {
            printf '%s\t%s\t%s' "$n" "$changed" "$zstd"
            for folder in restic/auto restic/max packhold; do printf '\t%s' "$(stored "$at/$folder")"; done
            # index.json grows with every run, and is one file.
            printf '\t%s\n' "$(stat -c %s "$at/packhold/index.json")"
        } >>"$work/commits.tsv"
    done
}
