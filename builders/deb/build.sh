#!/bin/sh
# Builds the binary packages of the source tree, as packhold, without a network.
set -eu
umask "${PACKHOLD_UMASK:-022}"
cd -P "$PACKHOLD_SOURCE"

# Puts the packaging at debian/, in the place of what is there.
packaging=$(realpath "$PACKHOLD_PACKAGING")
if [ "$packaging" != "$PWD/debian" ]; then
    copy=$(mktemp -d)
    # Links out of the folder break when it moves, so they are followed; those made for debian/ lead nowhere
    # before it moves, and are kept.
    cp -RLp "$packaging" "$copy/debian" 2>/dev/null || { rm -rf "$copy/debian" && cp -a "$packaging" "$copy/debian"; }
    rm -rf debian
    mv "$copy/debian" debian
    rmdir "$copy"
fi

# The version of the packages is that of the newest changelog entry (deb-changelog(5), Policy 4.4).
version='' distribution=unstable
if [ -e debian/changelog ]; then
    version=$(dpkg-parsechangelog -S Version)
    distribution=$(dpkg-parsechangelog -S Distribution)
fi
source_field() {
    perl -MDpkg::Control::Info -e 'print Dpkg::Control::Info->new->get_source->{$ARGV[0]} // die "$ARGV[0] is missing"' "$1"
}
# Without an entry that tells the changes, one says what is known.
entry() {
    if [ -n "${PACKHOLD_CHANGELOG-}" ]; then
        cat "$PACKHOLD_CHANGELOG"
        return
    fi
    name=$(source_field Source)
    maintainer=$(source_field Maintainer)
    echo "$name ($PACKHOLD_PACKAGE_VERSION) $distribution; urgency=medium"
    echo
    echo "  * Version $PACKHOLD_VERSION, built from commit $(printf %.12s "$PACKHOLD_COMMIT")."
    echo
    echo " -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
    echo
}
if [ "$version" != "$PACKHOLD_PACKAGE_VERSION" ]; then
    entry >debian/changelog.new
    if [ -e debian/changelog ]; then
        cat debian/changelog >>debian/changelog.new
    fi
    mv -f debian/changelog.new debian/changelog
fi

# Policy 4.9.1
case " ${DEB_BUILD_OPTIONS-} " in
*" parallel="*) ;;
*) export DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:+$DEB_BUILD_OPTIONS }parallel=$PACKHOLD_JOBS" ;;
esac

# The clock and the number of jobs are all that differs between two .buildinfo files of the same build. The hook
# runs when that file is written and before .changes records its checksum (dpkg-buildpackage(1), HOOKS).
deterministic_buildinfo="sed -i -E \
    -e '/^Build-Date:/d' \
    -e '/^ DEB_BUILD_OPTIONS=/s/ ?parallel=[0-9]+//' \
    -e '/^ DEB_BUILD_OPTIONS=\"\"\$/d' ../*.buildinfo"
dpkg-buildpackage --build=binary --no-sign --root-command=fakeroot --hook-changes="$deterministic_buildinfo"

for file in ../*.deb ../*.ddeb ../*.udeb ../*.changes ../*.buildinfo; do
    [ ! -f "$file" ] || cp "$file" "$PACKHOLD_OUT/"
done
