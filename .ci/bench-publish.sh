#!/usr/bin/env bash
# bench-publish.sh OUT: how long it takes to add one package to a repository of many, with Packhold, aptly, reprepro and createrepo_c; writes
# tables in Markdown to OUT. All sign with the same key. Work and repositories are in target/bench-publish (or $BENCH_WORK).
#
#   QUICK=1        fewer packages and rounds: minutes
#   SIZES ROUNDS   how many packages the repositories have; how many are added, ten at most
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -eq 1 ] || { echo "usage: bench-publish.sh OUT" >&2; exit 2; }
out=$(realpath -m "$1")
work=$(realpath -m "${BENCH_WORK-$top/target/bench-publish}")
programs=${BENCH_PROGRAMS-$top/target/release}
bench=$programs/examples/publish_bench
sizes=${SIZES:-${QUICK:+100 1000}} rounds=${ROUNDS:-${QUICK:+5}}
sizes=${sizes:-100 1000 5000} rounds=${rounds:-10}

say() { echo "bench-publish: $*" >&2; }

[ -x "$bench" ] || { say "build the example publish_bench first, --release"; exit 1; }
rm -rf "$work"
mkdir -p "$work"
cd "$work"
export GNUPGHOME=$work/gnupg
mkdir -m 700 "$GNUPGHOME"
finish() {
    gpgconf --kill all
    [ -n "${KEEP-}" ] || rm -rf "$work"
}
trap finish EXIT
gpg --batch --quiet --passphrase '' --quick-gen-key 'Bench <bench@example.org>' rsa4096 sign never
key=$(gpg --batch --with-colons --list-keys | awk -F: '$1 == "fpr" { print $10; exit }')
(umask 077 && gpg --batch --armor --export-secret-keys >key.asc)

# aptly_of FOLDER ARGUMENT…
aptly_of() {
    local folder=$1
    shift
    aptly -config="$folder/aptly.conf" "$@" >/dev/null 2>>"$work/aptly.log"
}

# Each begins with all packages of a folder in it. What is "lean" makes no Contents, and no form that it can leave out.
begin_packhold() { "$bench" publish "packhold-$1" key.asc "deb-$1" >/dev/null; }
add_packhold() { "$bench" publish "packhold-$1" key.asc "$2" >/dev/null; }

begin_aptly() {
    local folder=$work/aptly${3-}-$1
    mkdir "$folder"
    printf '{"rootDir": "%s", "architectures": ["amd64"]}\n' "$folder" >"$folder/aptly.conf"
    aptly_of "$folder" repo create bench
    aptly_of "$folder" repo add bench "deb-$1"/*.deb
    # shellcheck disable=SC2086 # these are options
    aptly_of "$folder" publish repo -batch -gpg-key="$key" -distribution=bookworm -architectures=amd64 ${4-} bench
}
add_aptly() {
    local folder=$work/aptly${3-}-$1
    aptly_of "$folder" repo add bench "$2"
    # shellcheck disable=SC2086 # these are options
    aptly_of "$folder" publish update -batch -gpg-key="$key" ${4-} bookworm
}
begin_aptly_lean() { begin_aptly "$1" '' -lean '-skip-contents -skip-bz2'; }
add_aptly_lean() { add_aptly "$1" "$2" -lean '-skip-contents -skip-bz2'; }

begin_reprepro() {
    local folder=$work/reprepro${3-}-$1
    mkdir -p "$folder/conf"
    printf 'Codename: bookworm\nComponents: main\nArchitectures: amd64\nSignWith: %s\n%s' "$key" "${4-Contents:
}" >"$folder/conf/distributions"
    reprepro --silent -b "$folder" includedeb bookworm "deb-$1"/*.deb
}
add_reprepro() { reprepro --silent -b "$work/reprepro${3-}-$1" includedeb bookworm "$2"; }
begin_reprepro_lean() { begin_reprepro "$1" '' -lean ''; }
add_reprepro_lean() { add_reprepro "$1" "$2" -lean; }

begin_packhold_yum() { "$bench" publish "packhold-yum-$1" key.asc "rpm-$1" >/dev/null; }
add_packhold_yum() { "$bench" publish "packhold-yum-$1" key.asc "$2" >/dev/null; }

sign_repomd() {
    gpg --batch --quiet --yes --armor --detach-sign "$1/repodata/repomd.xml"
}
begin_createrepo() {
    mkdir "createrepo-$1"
    cp "rpm-$1"/*.rpm "createrepo-$1"
    createrepo_c --quiet "createrepo-$1"
    sign_repomd "createrepo-$1"
}
add_createrepo() {
    cp "$2" "createrepo-$1"
    createrepo_c --quiet --update "createrepo-$1"
    sign_repomd "createrepo-$1"
}

# measure FILE FORMAT TOOL…: a line for each addition: packages, tool, milliseconds. All have their turn in each round.
measure() {
    local file=$1 format=$2 size tool package start end
    shift 2
    for size in $sizes; do
        say "$size packages, $format"
        "$bench" packages "$format" "$size" "$format-$size"
        for tool; do "begin_$tool" "$size"; done
        sync
        while read -r package; do
            for tool; do
                start=$EPOCHREALTIME
                "add_$tool" "$size" "$package"
                end=$EPOCHREALTIME
                printf '%s\t%s\t%s\n' "$size" "$tool" "$(((${end/[.,]/} - ${start/[.,]/}) / 100))" >>"$file"
            done
        done < <(find "$format-$size/more" -type f | sort | head -n "$rounds")
        # What was offered is offered.
        for tool; do "count_$tool" "$size" $((size + rounds)); done
    done
}

# expect TOOL WANTED FOUND
expect() { [ "$2" = "$3" ] || { say "$1 has $3 packages, not $2"; exit 1; }; }
count_debs() { expect "$1" "$2" "$(grep -c '^Package: ' "$3/dists/bookworm/main/binary-amd64/Packages")"; }
count_packhold() { count_debs Packhold "$2" "packhold-$1"; }
count_aptly() { count_debs aptly "$2" "aptly-$1/public"; }
count_aptly_lean() { count_debs aptly "$2" "aptly-lean-$1/public"; }
count_reprepro() { count_debs reprepro "$2" "reprepro-$1"; }
count_reprepro_lean() { count_debs reprepro "$2" "reprepro-lean-$1"; }
count_rpms() {
    local href
    href=$(grep -o 'repodata/[^"]*-primary.xml[^"]*' "$3/repodata/repomd.xml")
    expect "$1" "$2" "$(zcat "$3/$href" | grep -c '<package type="rpm">')"
}
count_packhold_yum() { count_rpms Packhold "$2" "packhold-yum-$1/rpm/stable/rocky-9/x86_64"; }
count_createrepo() { count_rpms createrepo_c "$2" "createrepo-$1"; }

# table FILE NAME…: medians of milliseconds with all that was measured, and how many times that of the first tool it is.
table() {
    local file=$1
    shift
    awk -F '\t' -v names="$(printf '%s\t' "$@")" "$(cat "$top/.ci/sorted.awk")"'
        BEGIN { split(names, title, "\t") }
        { if (!($2 in tool)) { tool[$2]; tools[++t] = $2 }
          if (!($1 in size)) { size[$1]; sizes[++s] = $1 }
          values[$1, $2, ++count[$1, $2]] = $3 / 10 }
        END {
            printf "| packages |"; for (i = 1; i <= t; i++) printf " %s |", title[i]; print ""
            printf "|---|"; for (i = 1; i <= t; i++) printf "---|"; print ""
            for (k = 1; k <= s; k++) {
                printf "| %s |", sizes[k]
                for (i = 1; i <= t; i++) {
                    n = count[sizes[k], tools[i]]
                    sorted(sizes[k] SUBSEP tools[i], n)
                    median = n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
                    if (i == 1) first = median
                    printf " %.3f (%.3f–%.3f)", median / 1000, list[1] / 1000, list[n] / 1000
                    if (i > 1) printf ", ×%.1f", median / first
                    printf " |"
                }
                print ""
            }
        }' "$file"
}

measure debs.tsv deb packhold aptly aptly_lean reprepro reprepro_lean
measure rpms.tsv rpm packhold_yum createrepo
version() { "$@" 2>&1 | grep -om 1 '[0-9]\+\.[0-9.]*[0-9]' | head -n 1; }
{
    echo "# Adding a package to a repository"
    echo
    echo "Made by \`make bench-publish\`${QUICK:+ with QUICK=1}: seconds, from the start of a program to its end, for adding one package to a signed repository that has so many already."
    echo "Packhold is the example \`publish_bench\`, which does what \`packhold publish\` does once it has the packages of a run: it asks whether they are upgrades, and syncs every file to the disk."
    echo "Beside it aptly $(version aptly version) (\`repo add\`, \`publish update\`), reprepro $(version reprepro --version) (\`includedeb\`) and createrepo_c $(version createrepo_c --version) (a copy, \`createrepo_c --update\`, \`gpg --detach-sign\`)."
    echo "\"Lean\" is without Contents, and aptly's without bzip2; Packhold always writes Contents and three compressed forms. All sign with the same RSA key of 4096 bits, those beside Packhold with a running agent of GnuPG $(version gpg --version)."
    echo "$rounds rounds in which all had their turn: medians, in brackets the least and the most, and how many times Packhold's median it is. Release build, $(nproc) cores, $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r | cut -d- -f1), $(stat -f -c %T "$work"). Load of the machine at the end: $(cut -d' ' -f1-3 /proc/loadavg)."
    echo
    echo "## apt"
    echo
    table debs.tsv Packhold aptly 'aptly, lean' reprepro 'reprepro, lean'
    echo
    echo "## yum"
    echo
    table rpms.tsv Packhold createrepo_c
} >"$out"
say "$out is made"
