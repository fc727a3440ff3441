#!/usr/bin/env bash
# bench-piuparts.sh OUT [CLASS…]: piuparts and Packhold over the debs of the catalogue of broken packages
# (tests/fixtures/catalogue), side by side; writes a table in Markdown to OUT, and keeps all logs in OUT.logs. A row is measured
# one after the other on one core; as many rows run at once as there are cores. Needs root, a container engine and a mirror that
# apt reaches.
#
# piuparts runs both its tests: install and purge, and the upgrade from the released version, which a repository on disk offers. Its
# settings are its defaults, but for those that only make it quicker, and its root comes from a tar that is made once.
# Packhold runs the scenarios of these tests and the integrity of files, and for a class that lies elsewhere its scenario too.
# Its base image is made once as well.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -ge 1 ] || { echo "usage: bench-piuparts.sh OUT [CLASS…]" >&2; exit 2; }
out=$(realpath "$1")
shift
packhold=${PACKHOLD-$top/target/debug/packhold}
[ -x "$packhold" ] || { echo "bench-piuparts: build Packhold first" >&2; exit 1; }
command -v piuparts >/dev/null || { echo "bench-piuparts: install piuparts first" >&2; exit 1; }

work=$(mktemp -d)
chmod 755 "$work"

# A piuparts that was ended by force leaves its mounts, through which nothing must be removed.
clean_up() {
    awk -v below="$work/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r mount; do
        umount "$mount" || umount --lazy "$mount"
    done
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
mkdir -p "$out.logs" "$work/tmp" "$work/rows"
export PACKHOLD_ARCHIVE=$work/archive XDG_STATE_HOME=$work/state

base=${PIUPARTS_BASE-$work/base.tar.gz}
[ -e "$base" ] || mmdebstrap --quiet --variant=minbase bookworm "$base"
if [ $# -eq 0 ]; then
    cd "$top/tests/fixtures/catalogue/deb"
    set -- clean *.sh
    set -- "${@%.sh}"
fi
"$top/tests/fixtures/catalogue/make.sh" "$work/catalogue" "${@/#/deb/}"

# header KEY CLASS: what the class says of itself.
header() { sed -n "s/^$1: //p" "$work/catalogue/deb/$2/expected" | head -n 1; }

# since BEGIN: seconds, with one digit.
since() { awk -v begun="$1" -v ended="$EPOCHREALTIME" 'BEGIN { printf "%.1f", ended - begun }'; }

run_piuparts() {
    local folder=$work/catalogue/deb/$1 log=$out.logs/$1.piuparts.log caught=no begun=$EPOCHREALTIME
    # A class may hang; so may piuparts with it.
    timeout --kill-after=10 "${PIUPARTS_LIMIT:-600}" piuparts \
        --basetgz="$base" --distribution=bookworm --tmpdir="$work/tmp" \
        --no-eatmydata --do-not-verify-signatures \
        --bindmount="$folder/old" --extra-repo="deb [trusted=yes] file:$folder/old ./" \
        "$folder"/new/*.deb >"$log" 2>&1 </dev/null || caught=yes
    # A mirror that fails says nothing about the package.
    if grep -q 'Failed to fetch' "$log"; then caught='?'; fi
    printf '%s\t%s' "$caught" "$(since "$begun")"
}

# run_packhold CLASS [ARGUMENT…]: caught is what fails for the reason of the class.
run_packhold() {
    local class=$1 log=$out.logs/$1.packhold.log caught=no begun=$EPOCHREALTIME status=0 old
    local folder=$work/catalogue/deb/$1 scenario
    shift
    for old in "$folder"/old/*.deb; do set -- "$@" --upgrade-from "$old"; done
    scenario=$(header scenario "$class")
    case $scenario in
    service | reinstall | rollback | no-docs | lint) set -- "$@" --scenario "$scenario" ;;
    esac
    "$packhold" verify --format json --target debian-12/deb --pipeline "$folder/verify.toml" --jobs 1 "$@" \
        "$folder"/new/*.deb >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -eq 1 ]; then
        caught=other
        ! tail -n 1 "$log" | grep -qF "\"reason\":\"$(header reason "$class")\"" || caught=yes
    elif [ "$status" -ne 0 ]; then
        caught='?'
    fi
    printf '%s\t%s' "$caught" "$(since "$begun")"
}

row() {
    local alike=(install integrity smoke remove purge upgrade)
    (cd "$work/catalogue/deb/$1/old" && dpkg-scanpackages --multiversion . >Packages 2>/dev/null)
    printf '%s\t%s\t%s\t%s\n' "$1" "$(header scenario "$1")" "$(run_piuparts "$1")" \
        "$(run_packhold "$1" "${alike[@]/#/--scenario=}")" >"$work/rows/$1"
    cat "$work/rows/$1"
}

# What both start from.
run_packhold clean >/dev/null

running=0
for class; do
    if [ "$running" -ge "$(nproc)" ]; then wait -n; else running=$((running + 1)); fi
    row "$class" &
done
while [ "$running" -gt 0 ]; do
    wait -n
    running=$((running - 1))
done

{
    cat <<END
# piuparts and Packhold over the catalogue

Made by \`make bench-piuparts\`: $(piuparts --version 2>/dev/null | head -n 1), Packhold $("$packhold" --version | cut -d ' ' -f 2) (debug build), both on one core of the same
machine, a row after the other. Seconds of different rows do not compare: other rows ran beside them. *other*: it fails, but for
another reason than that of the class. Packhold is asked for piuparts' scenarios (install, remove, purge, upgrade), for
the integrity of files and for smoke commands; for a class of another scenario, for that one too.

| class | scenario | piuparts | seconds | Packhold | seconds | ratio |
|---|---|---|---|---|---|---|
END
    for class; do cat "$work/rows/$class"; done | awk -F '\t' '
        {
            printf "| %s | %s | %s | %s | %s | %s | %.2f |\n", $1, $2, $3, $4, $5, $6, $6 / $4
            ratio[NR] = $6 / $4
            if ($1 != "clean") { classes++; p += $3 == "yes"; q += $5 == "yes"; missed += $3 == "yes" && $5 != "yes" }
            theirs += $4; ours += $6
        }
        END {
            for (a = 1; a <= NR; a++) for (b = a + 1; b <= NR; b++) if (ratio[b] < ratio[a]) { t = ratio[a]; ratio[a] = ratio[b]; ratio[b] = t }
            printf "\nOf %d classes piuparts catches %d and Packhold %d; %d that piuparts catches Packhold does not. ", classes, p, q, missed
            printf "Packhold takes %.2f of the time of piuparts in the sum of all rows, %.2f in the median row.\n", ours / theirs, ratio[int((NR + 1) / 2)]
        }'
} >"$out"
tail -n 1 "$out"
