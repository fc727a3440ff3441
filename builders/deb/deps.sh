#!/bin/sh
# builder image → deps image: what the packaging declares (fields of the Build-Depends family), then PACKHOLD_DEPS
set -eu
# shellcheck source=/dev/null
. /packhold/apt.sh

# control FILE: a control file with what is declared, and nothing else of the package.
control() {
    printf 'Source: packhold\n' >"$1"
    cat "$PACKHOLD_DECLARED" >>"$1"
    printf '\nPackage: packhold\nArchitecture: any\n' >>"$1"
}

# declared_dependencies CONTROL: one dependency ("a | b (>= 2)") a line, without those of other architectures and build profiles.
declared_dependencies() {
    perl -MDpkg::Control::Info -MDpkg::Deps -e '
        my $source = Dpkg::Control::Info->new($ARGV[0])->get_source;
        for my $field (grep { defined } @$source{qw(Build-Depends Build-Depends-Arch Build-Depends-Indep)}) {
            print $_->output, "\n" for deps_parse($field, build_dep => 1, reduce_restrictions => 1)->get_deps;
        }' "$1"
}

# Those that cannot be installed together with the ones before them.
missing_dependencies() {
    set --
    while read -r dependency; do
        if apt-get satisfy --simulate "$@" "$dependency" >/dev/null 2>&1 </dev/null; then
            set -- "$@" "$dependency"
        else
            echo "${dependency%%[ :]*}"
        fi
    done
}

# dependencies_failed LIST: the resolver's own words are in the log already.
dependencies_failed() {
    missing=$(echo "$1" | missing_dependencies)
    [ -n "$missing" ] || exit 1
    echo "$missing" | sed 's/^/packhold: missing-dependency: /'
    exit 3
}

apt_update
# The shared prepare stage has no packaging.
if [ -s "$PACKHOLD_DECLARED" ]; then
    # apt-get build-dep wants a folder that has debian/control.
    folder=$(mktemp -d)
    mkdir "$folder/debian"
    control "$folder/debian/control"
    apt_get build-dep "$folder" || dependencies_failed "$(declared_dependencies "$folder/debian/control")"
    rm -r "$folder"
fi
if [ -n "$PACKHOLD_DEPS" ]; then
    # shellcheck disable=SC2086 # a list
    apt_get install $PACKHOLD_DEPS || dependencies_failed "$(printf '%s\n' $PACKHOLD_DEPS)"
fi
apt_clean
