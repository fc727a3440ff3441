#!/usr/bin/env bash
# bench-engines.sh OUT: how quick Packhold's own engine is, as root and without, beside Docker, podman, crun and runc; writes tables in
# Markdown to OUT. What cannot be started is left out, and said. Needs root, Docker, and for the large image a mirror that
# apt reaches. Work and images are in target/bench-engines (or $BENCH_WORK).
#
#   QUICK=1               fewer of everything: minutes
#   ROUNDS ROW LOADS      how many rounds, containers in a row, images unpacked
#   BENCH_IMAGE           a large image as a `docker save` archive without names, instead of one that is made
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -eq 1 ] || { echo "usage: bench-engines.sh OUT" >&2; exit 2; }
out=$(realpath -m "$1")
work=$(realpath -m "${BENCH_WORK-$top/target/bench-engines}")
programs=${BENCH_PROGRAMS-$top/target/release}
packhold=$programs/packhold bench=$programs/examples/engine_bench
rounds=${ROUNDS:-${QUICK:+10}} row=${ROW:-${QUICK:+200}} loads=${LOADS:-${QUICK:+3}}
rounds=${rounds:-50} row=${row:-1000} loads=${loads:-7}
user="packhold-test"
# The client's newer way of building needs a plugin.
export DOCKER_BUILDKIT=0
# shellcheck source=/dev/null
. "$top/.ci/podman.sh"

say() { echo "bench-engines: $*" >&2; }

[ "$(id -u)" = 0 ] || { say "this needs root"; exit 1; }
for program in "$packhold" "$bench"; do
    [ -x "$program" ] || { say "build Packhold and the example engine_bench first, --release"; exit 1; }
done
mkdir -p "$work"
cd "$work"
podman_service='' holder='' place=''
finish() {
    for process in $podman_service $holder; do kill "$process" 2>/dev/null || true; done
    [ -z "$place" ] || rm -rf "$place"
}
trap finish EXIT

# image_of TAR OUT: the userland in TAR as an image without a name.
image_of() {
    local id
    id=$(docker import --change 'CMD ["true"]' "$1")
    docker save "$id" >"$2.new"
    docker image rm "$id" >/dev/null
    mv "$2.new" "$2"
}

# A userland of one program, as an image and as a bundle of the same files.
[ -s small.tar ] || {
    mkdir -p userland/bin userland/tmp userland/etc userland/proc userland/dev userland/sys
    cp /bin/busybox userland/bin/
    # Docker is asked to run commands by way of some of these.
    for name in cat echo env id ls sh sleep true; do ln -sf busybox "userland/bin/$name"; done
    tar -C userland -c . >userland.tar
    image_of userland.tar small.tar
}
rm -rf bundle
mkdir -p bundle/rootfs
tar -C bundle/rootfs -xf userland.tar
(cd bundle && runc spec)
jq '.process.terminal = false | .process.args = ["true"] | .process.env = ["PATH=/bin"]
    | .linux.resources += {memory: {limit: 1073741824}, pids: {limit: 100}}' bundle/config.json >bundle/config.new
mv bundle/config.new bundle/config.json

large=${BENCH_IMAGE-$work/large.tar}
[ -s "$large" ] || {
    say "making a large image with mmdebstrap"
    mmdebstrap --quiet --variant=minbase --include=build-essential,debhelper bookworm base.tar ${MIRROR:+"$MIRROR"}
    image_of base.tar large.tar
    rm base.tar
}

root=(embedded docker) left=()
if command -v podman >/dev/null && start_podman "$work"; then
    root+=("podman=$work/podman.sock")
else
    left+=("podman")
fi
runtimes=()
# crun does not work where cgroup v2 has controllers beside v1. As long as a hierarchy of v1 has them, v2 has not.
controllers=$(cat /sys/fs/cgroup/unified/cgroup.controllers 2>/dev/null || true)
if [ -n "$controllers" ]; then
    mkdir -p v1
    # shellcheck disable=SC2016 # for the other shell
    # Nobody else sees this mount, and it goes with its process.
    unshare --mount sh -c 'mount -t cgroup -o "$1" none v1 && exec sleep infinity' sh "${controllers// /,}" &
    holder=$!
    sleep 1
fi
for runtime in crun runc; do
    if command -v "$runtime" >/dev/null && "$runtime" run --bundle bundle "packhold-bench-try-$$" </dev/null >"$runtime.log" 2>&1; then
        runtimes+=("$runtime=$work/bundle")
    else
        left+=("$runtime")
    fi
done

# The user has programs and images in a folder that they may read.
ordinary=
if id "$user" >/dev/null 2>&1; then
    place=$(mktemp -d /var/tmp/packhold-bench.XXXXXX)
    chmod 755 "$place"
    cp "$packhold" "$bench" small.tar "$place"
    cp "$large" "$place/large.tar"
    chmod a+r "$place"/*
    mkdir "$place/home"
    chown "$user:" "$place/home"
    # as_user ARGUMENT…: engine_bench as this user
    as_user() {
        (cd "$place/home" && setpriv --reuid "$user" --regid "$user" --clear-groups env -i PATH="$PATH" HOME="$place/home" \
            "$place/packhold" unshare "$place/engine_bench" "$@")
    }
    ordinary=yes
else
    left+=("the engine without root: there is no user $user")
fi
without_root='without root:embedded'

# In short turns, so that whatever else the machine does hits all of them.
: >steps.tsv
turns=5
for turn in $(seq $turns); do
    say "turn $turn of $turns"
    "$bench" steps "$packhold" small.tar $((rounds / turns)) "${root[@]}" "${runtimes[@]}" >>steps.tsv
    [ -z "$ordinary" ] || as_user steps "$place/packhold" "$place/small.tar" $((rounds / turns)) "$without_root" >>steps.tsv
done
: >loads.tsv
cat "$large" >/dev/null
for load in $(seq "$loads"); do
    say "large image, $load of $loads"
    "$bench" load "$packhold" "$large" 1 "${root[@]}" >>loads.tsv
    [ -z "$ordinary" ] || as_user load "$place/packhold" "$place/large.tar" 1 "$without_root" >>loads.tsv
done
say "$row containers in a row"
"$bench" row "$packhold" small.tar "$row" embedded >row.tsv
[ -z "$ordinary" ] || as_user row "$place/packhold" "$place/small.tar" "$row" "$without_root" >>row.tsv

# table FILE: medians with the middle half, and how many times that of the first engine it is.
table() {
    awk -F '\t' "$(cat "$top/.ci/sorted.awk")"'
        { if (!($1 in engine)) { engine[$1]; engines[++e] = $1 }
          if (!($2 in what)) { what[$2]; whats[++w] = $2 }
          values[$1, $2, ++count[$1, $2]] = $3 }
        function place(n, part, at) { at = int((n - 1) * part + 0.5) + 1; return list[at] }
        function round(x) { return x < 100 ? sprintf("%.1f", x) : sprintf("%.0f", x) }
        END {
            printf "| milliseconds |"; for (i = 1; i <= e; i++) printf " %s |", engines[i]; print ""
            printf "|---|"; for (i = 1; i <= e; i++) printf "---|"; print ""
            for (k = 1; k <= w; k++) {
                printf "| %s |", whats[k]
                for (i = 1; i <= e; i++) {
                    n = count[engines[i], whats[k]]
                    if (!n) { printf " – |"; continue }
                    sorted(engines[i] SUBSEP whats[k], n)
                    median = place(n, 0.5)
                    if (i == 1) first = median
                    printf " %s (%s–%s)", round(median), round(place(n, 0.25)), round(place(n, 0.75))
                    if (i > 1 && first > 0) printf ", ×%.2f", median / first
                    printf " |"
                }
                print ""
            }
        }' "$1"
}
{
    echo "# How quick the engines are"
    echo
    echo "Made by \`make bench-engines\`${QUICK:+ with QUICK=1}: Packhold's own engine (\"embedded\", and \"without root\" that of an ordinary user) beside $(docker version --format "Docker {{.Server.Version}}"), $(podman --version), $(crun --version | head -n 1), $(runc --version | head -n 1); $(basename "$programs") build,"
    echo "$(nproc) cores, Linux $(uname -r | cut -d- -f1). All had their turn in each round. Medians, in brackets the middle half of the measurements, and how many times"
    echo "the embedded engine's median it is. Load of the machine at the end: $(cut -d' ' -f1-3 /proc/loadavg)."
    [ ${#left[@]} -eq 0 ] || echo "Left out, since not there or not working here: $(printf '%s; ' "${left[@]}" | sed 's/; $//')."
    echo
    echo "## One container"
    echo
    echo "Of an image with busybox alone, no network, 1 GiB of memory, 100 processes; $rounds rounds. \"Start to exit\" is a container and \`true\` in it; for"
    echo "crun and runc it is their \`run\` of a bundle with the same files and limits, without a daemon and without overlayfs. What is put and got are 100 MB in one file."
    echo
    table steps.tsv
    echo
    echo "## Unpacking an image"
    echo
    echo "A \`docker save\` archive of $(($(stat -c %s "$large") / 1048576)) MiB into an engine that has no layer of it; $loads times."
    echo
    table loads.tsv
    echo
    echo "## $row containers, one after the other"
    echo
    echo "Made, \`true\` run in them, removed. \"Before\" is after the first one. Memory of the program is in KiB, times of a hundred in ms; mounts and groups are those left."
    echo
    table row.tsv | sed 's/ (\([^)]*\))//g; s/, ×[0-9.]*//g; 1s/milliseconds/ /'
} >"$out.new"
mv "$out.new" "$out"
cat "$out"
