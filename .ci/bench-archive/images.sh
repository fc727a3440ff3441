# shellcheck shell=bash disable=SC2016,SC2154 # programs of awk, and what bench-archive.sh sets
# Successive rebuilds of a builder image as somebody makes them who does not normalise them. Sourced.

# What a builder image has, and what is added to it over time, a package a rebuild. The second rebuild is of the same packages
# as the first. From the middle on, updates come in as well.
tools=(build-essential debhelper fakeroot git pkg-config)
additions=(jq rsync zip unzip tree strace bc file less)

# make_image N COUNT: bootstraps a userland and installs the tools, all of it anew; writes the output of `docker save` to images/N.tar.
make_image() {
    local n=$1 count=$2 tag=packhold-bench/rebuilt:$1 updates=(--setup-hook='sed -i "/-security/d; /-updates/d" "$1/etc/apt/sources.list"')
    [ ! -e "$work/images/$n.tar" ] || return 0
    local added=$((n > 2 ? n - 2 : 0))
    [ "$n" -le $((count / 2)) ] || updates=()
    say "rebuild $n of $count"
    mmdebstrap --quiet --variant=minbase "${updates[@]}" bookworm - | docker import --change 'CMD ["sh"]' - "$tag-base" >/dev/null
    docker build --quiet --no-cache --tag "$tag" - >/dev/null <<END
FROM $tag-base
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    ${tools[*]} ${additions[*]:0:added} && apt-get clean && rm -rf /var/lib/apt/lists/*
END
    docker save --output "$work/images/$n.tar.new" "$tag"
    docker image inspect --format '{{.Id}}' "$tag" >"$work/images/$n.id"
    docker image rm "$tag" "$tag-base" >/dev/null
    mv "$work/images/$n.tar.new" "$work/images/$n.tar"
}

# store_images COUNT: stores one after the other in everything that is compared; a line for each in images.tsv.
store_images() {
    local n zstd=0 at=$work/stored image
    rm -rf "$at"
    mkdir -p "$at/restic"
    : >"$work/images.tsv"
    for n in $(seq "$1"); do
        image=$work/images/$n.tar
        say "store rebuild $n"
        zstd=$((zstd + $(zstd -3 -q -c "$image" | wc -c)))
        skopeo copy --quiet "docker-archive:$image" "oci:$at/skopeo:rebuilt-$n"
        for mode in auto max; do
            restic_open "$at/restic/$mode"
            restic_in "$at/restic/$mode" --compression "$mode" backup --stdin --stdin-filename image.tar <"$image"
        done
        "$bench" ingest "$at/packhold" <"$image" >"$at/id"
        [ "$(cat "$at/id")" = "$(cat "$work/images/$n.id")" ] || { say "rebuild $n: another id"; return 1; }
        {
            printf '%s\t%s\t%s' "$n" "$(stat -c %s "$image")" "$zstd"
            for folder in skopeo restic/auto restic/max packhold; do printf '\t%s' "$(stored "$at/$folder")"; done
            echo
        } >>"$work/images.tsv"
    done
}
