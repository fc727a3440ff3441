# shellcheck shell=bash disable=SC2016,SC2154 # programs of awk, and what bench-archive.sh sets
# The same rebuilds, made by Packhold's builders. Sourced.

# rebuild_normalised COUNT: lets Packhold make the images of a builder from nothing, again and again: before each time they are
# removed from the engine, and the archive that might give them back is a new one. A line for each in normalised.tsv: the ids of the
# base, builder and deps image, and what an archive of all of them holds then.
rebuild_normalised() {
    local count=$1 at=$work/normalised n events roles=(base builder deps) role id
    rm -rf "$at"
    # A builder that nobody else uses, so that nobody misses its images.
    mkdir -p "$at/builders/bench-12"
    printf '%s\n' 'extends = "debian-12"' '[base]' '[base.bootstrap]' 'suite = "bookworm"' 'include = ["hello"]' >"$at/builders/bench-12/builder.toml"
    printf '%s\n' '[package]' 'name = "hostpulse"' '[target."bench-12/deb"]' '[verify]' 'skip = [' >"$at/pipeline.toml"
    printf '    "%s",\n' integrity smoke reinstall remove purge service upgrade no-docs lint >>"$at/pipeline.toml"
    echo ']' >>"$at/pipeline.toml"
    : >"$work/normalised.tsv"
    for n in $(seq "$count"); do
        say "rebuild $n of $count with Packhold"
        remove_normalised
        rm -rf "$at/archive" "$at/cache"
        events=$at/events.$n
        XDG_CACHE_HOME=$at/cache "$packhold" run "$at/pipeline.toml" --builders "$at/builders" --registry none --archive "$at/archive" \
            --source "$work/hostpulse" --commit v1.1.0 --format json >"$events" 2>"$at/errors" || { tail -n 1 "$events"; cat "$at/errors"; return 1; }
        tail -n 1 "$events" | jq -r '.images[] | [.role, .id, .key] | @tsv' >"$at/images"
        printf '%s' "$n" >>"$work/normalised.tsv"
        for role in "${roles[@]}"; do
            id=$(awk -v role="$role" '$1 == role { print $2 }' "$at/images")
            docker save "$id" | "$bench" ingest "$at/all" >/dev/null
            printf '\t%s' "$id" >>"$work/normalised.tsv"
        done
        printf '\t%s\n' "$(stored "$at/all")" >>"$work/normalised.tsv"
    done
    remove_normalised
}

# The images that the last rebuild left, by their names.
remove_normalised() {
    local role key
    [ -e "$work/normalised/images" ] || return 0
    while read -r role _ key; do
        key=${key#sha256:}
        docker image rm "packhold/$role:${key:0:32}" >/dev/null 2>&1 || true
    done <"$work/normalised/images"
}
