#!/usr/bin/env bash
# bench-identical.sh OUT: builds the demo agent, nrpe and fping on Docker, podman and Packhold's own engine, by root and by an ordinary user, and writes to OUT as a table in
# Markdown whether the packages have the same bytes. The exit status is 1 if they have not.
# Needs root, Docker, podman, runc and a mirror that apt reaches. Packages are not verified: the tests do that.
#
#   ENGINES      which engines (default: docker podman embedded rootless); the first is what the others are compared with. "rootless" is
#                the embedded engine of the user packhold-test
#   REPLAY       those of them that replay the first one's archived runs, in its images, instead of making images of their own
#                (default: embedded rootless)
#   AGAIN        if it is "no", what is there of an earlier time is not done again
#   PACKHOLD     the program (default: target/debug/packhold)
#   BENCH_WORK   where everything is kept (default: target/bench-identical); what was made there is used again, but packages are built anew
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 1 ] || { echo "usage: bench-identical.sh OUT" >&2; exit 2; }
out=$1
packhold=$(realpath -m "${PACKHOLD-target/debug/packhold}")
work=$(realpath -m "${BENCH_WORK-target/bench-identical}")
read -ra engines <<<"${ENGINES-docker podman embedded rootless}"
first=${engines[0]}
replays=" ${REPLAY-embedded rootless} "
mkdir -p "$work"

# shellcheck source=/dev/null
. .ci/podman.sh
podman_service=''
theirs=''
trap '[ -z "$podman_service" ] || kill "$podman_service" 2>/dev/null || true; [ -z "$theirs" ] || rm -rf "$theirs"' EXIT

# Sources: the demo agent's repository is made, the others are Debian's source packages.
[ -d "$work/demo" ] || { tests/fixtures/demo-agent/make-repository.sh "$work/demo.new" && mv "$work/demo.new" "$work/demo"; }
tests/fixtures/fetch-sources.sh target/sources
declare -A sources=([demo]=$work/demo [nrpe]=$PWD/target/sources/nagios-nrpe [fping]=$PWD/target/sources/fping)

for pipeline in demo nrpe fping; do
    # Only the build matters here.
    {
        cat "pipelines/$pipeline.toml"
        printf '\n[verify]\nskip = ["install", "integrity", "smoke", "reinstall", "remove", "purge", "service", "upgrade", '
        printf '"no-docs", "image", "lint"]\n'
    } >"$work/$pipeline.toml"
done

is_replay() { case $replays in *" $1 "*) [ "$1" != "$first" ] ;; *) false ;; esac; }

# ordinary_user ARCHIVE: a copy of the archive and of the program in a folder of the user's, which is below no folder of root alone.
ordinary_user() {
    if [ -z "$theirs" ]; then
        theirs=$(mktemp -d)
        cp "$packhold" "$theirs/packhold"
        cp -r "$1" "$theirs/archive"
        chown -R packhold-test: "$theirs"
    fi
}

# packhold_on ENGINE PIPELINE ARCHIVE ARGUMENT…: what it says at the end is kept as ENGINE/PIPELINE.record.json.
packhold_on() {
    local engine=$1 own=$work/$1 pipeline=$2 archive=$3 status=0
    shift 3
    mkdir -p "$own"
    [ "${AGAIN-}" != no ] || [ ! -s "$own/$pipeline.record.json" ] || return 0
    echo "bench-identical: $pipeline on $engine" >&2
    local as=(env) program=$packhold kind=$engine
    if [ "$engine" = rootless ]; then
        ordinary_user "$archive"
        as=(setpriv --reuid packhold-test --regid packhold-test --clear-groups env -i "PATH=/usr/sbin:/usr/bin:/sbin:/bin" "HOME=$theirs")
        program=$theirs/packhold archive=$theirs/archive own=$theirs kind=embedded
    fi
    (cd "$own" && "${as[@]}" XDG_DATA_HOME="$own/data" XDG_CACHE_HOME="$own/cache" XDG_STATE_HOME="$own/state" PACKHOLD_ARCHIVE="$archive" \
        "$program" "$@" --engine "$kind" --format json) >"$work/$engine/$pipeline.json" 2>"$work/$engine/$pipeline.errors" || status=$?
    own=$work/$engine
    # Of a pipeline that failed the files are missing in the table.
    [ "$status" -le 1 ] || { tail -n 5 "$own/$pipeline.errors" >&2; exit "$status"; }
    tail -n 1 "$own/$pipeline.json" >"$own/$pipeline.record.json"
}

for engine in "${engines[@]}"; do
    [ "$engine" != podman ] || [ "${AGAIN-}" = no ] || { start_podman "$work"; export CONTAINER_HOST=unix://$work/podman.sock; }
    for pipeline in demo nrpe fping; do
        if is_replay "$engine"; then
            run=$(jq -r .id "$work/$first/$pipeline.record.json")
            packhold_on "$engine" "$pipeline" "$work/$first/archive" archive replay "$run"
        else
            packhold_on "$engine" "$pipeline" "$work/$engine/archive" run "$work/$pipeline.toml" --source "${sources[$pipeline]}" --rebuild
        fi
    done
done

# PIPELINE TARGET NAME DIGEST of every file that an engine built.
artifacts() {
    for pipeline in demo nrpe fping; do
        jq -r --arg pipeline "$pipeline" '.targets[] | .target as $target | .artifacts[]
            | [$pipeline, $target, .name, (.digest // .built // "none")] | @tsv' "$work/$1/$pipeline.record.json"
    done | LC_ALL=C sort
}
for engine in "${engines[@]}"; do artifacts "$engine" >"$work/$engine.tsv"; done

different=0
{
    echo "# The same packages on every engine"
    echo
    echo "Made by \`make bench-identical\`: every file that the builds of the demo agent, nrpe and fping give. A digest is the first half of the"
    echo "file's sha256; *same* means that it is the same in full."
    echo
    for engine in "${engines[@]}"; do
        if is_replay "$engine"; then
            echo "- $engine: \`archive replay\` of the runs of $first, in a folder of its own, in the archived images"
        else
            jq -r '"- \(.engine.kind) \(.engine.version), \(.engine.arch), Linux \(.engine.kernel | sub("-.*"; "")), in images that it made itself"' \
                "$work/$engine/demo.record.json"
        fi
    done
    echo
    printf '| pipeline | target | file |'; printf ' %s |' "${engines[@]}"; echo
    printf '|---|---|---|'; printf -- '---|%.0s' "${engines[@]}"; echo
    while IFS=$'\t' read -r pipeline target name digest; do
        # shellcheck disable=SC2016 # Markdown
        printf '| %s | %s | `%s` | `%.32s` |' "$pipeline" "$target" "$name" "${digest#sha256:}"
        for engine in "${engines[@]:1}"; do
            other=$(awk -F '\t' -v p="$pipeline" -v t="$target" -v n="$name" '$1 == p && $2 == t && $3 == n { print $4 }' "$work/$engine.tsv")
            if [ "$other" = "$digest" ]; then
                printf ' same |'
            else
                printf ' **%.12s** |' "${other#sha256:}"
            fi
        done
        echo
    done <"$work/$first.tsv"
} >"$out.new"
for engine in "${engines[@]:1}"; do
    if ! diff "$work/$first.tsv" "$work/$engine.tsv" >&2; then
        echo "bench-identical: $engine does not give the packages of $first" >&2
        different=1
    fi
done
[ -s "$work/$first.tsv" ] || { echo "bench-identical: nothing was built" >&2; exit 1; }
mv "$out.new" "$out"
cat "$out"
exit "$different"
