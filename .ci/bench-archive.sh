#!/usr/bin/env bash
# bench-archive.sh OUT: how much an archive grows and how quick it is, beside `docker save | zstd`, skopeo and restic, on the same data;
# writes tables in Markdown to OUT. Everything it needs it makes itself, in target/bench-archive (or $BENCH_WORK), and what was made is
# used again: images take most of the time. Needs root, a container engine and a mirror that apt reaches.
#
#   QUICK=1                fewer of everything: minutes instead of hours
#   REBUILDS NORMALISED COMMITS ROUNDS   how many of each
#   PARTS                  which parts are measured (default: images normalised commits speed); tables of others are as they were
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -eq 1 ] || { echo "usage: bench-archive.sh OUT" >&2; exit 2; }
out=$1
work=${BENCH_WORK-$top/target/bench-archive}
programs=${BENCH_PROGRAMS-$top/target/release}
packhold=$programs/packhold bench=$programs/examples/archive_bench
for part in common images normalised commits speed report; do
    # shellcheck source=/dev/null
    . "$top/.ci/bench-archive/$part.sh"
done
for program in "$packhold" "$bench"; do
    [ -x "$program" ] || { say "build Packhold and the example archive_bench first, --release"; exit 1; }
done

quick=${QUICK:+yes}
rebuilds=${REBUILDS:-${quick:+3}} normalised=${NORMALISED:-${quick:+2}} commits=${COMMITS:-${quick:+10}} rounds=${ROUNDS:-${quick:+3}}
rebuilds=${rebuilds:-10} normalised=${normalised:-10} commits=${commits:-100} rounds=${rounds:-7}
# The client's newer way of building needs a plugin.
export DOCKER_BUILDKIT=0 XDG_CACHE_HOME=$work/xdg/cache XDG_STATE_HOME=$work/xdg/state
mkdir -p "$work/images"

for part in ${PARTS-images normalised commits speed}; do
    case $part in
    images)
        for n in $(seq "$rebuilds"); do make_image "$n" "$rebuilds"; done
        store_images "$rebuilds"
        ;;
    normalised)
        make_commits 100
        rebuild_normalised "$normalised"
        ;;
    commits)
        make_commits "$((commits > 100 ? commits : 100))"
        store_commits "$commits"
        ;;
    speed)
        for n in 1 2; do make_image "$n" "$rebuilds"; done
        measure_speed "$rounds"
        ;;
    *) say "no part is called $part"; exit 2 ;;
    esac
done
report >"$out.new"
mv "$out.new" "$out"
cat "$out"
