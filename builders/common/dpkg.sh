#!/bin/sh
# NAME<TAB>VERSION<TAB>ARCH<TAB>SHA256 of every package in dpkg's database; the last as the mirror's lists name it, if they are here.
set -eu
lists=/packhold/lists
[ -d "$lists" ] || lists=/var/lib/apt/lists

# NAME<TAB>VERSION<TAB>ARCH<TAB>SHA256 of every package in the lists (deb822(5) paragraphs), which apt may keep packed.
listed() {
    find "$lists" -maxdepth 1 -type f -name '*_Packages*' -exec /usr/lib/apt/apt-helper cat-file {} + 2>/dev/null | awk '
        /^Package: / { name = $2 }
        /^Version: / { version = $2 }
        /^Architecture: / { arch = $2 }
        /^SHA256: / { sum = $2 }
        /^$/ { if (sum != "") print name "\t" version "\t" arch "\t" sum; sum = "" }'
}

{
    listed
    echo installed
    dpkg-query --show --showformat='${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n'
} | awk -F '\t' '
    $0 == "installed" { installed = 1; next }
    !installed { sum[$1 "\t" $2 "\t" $3] = $4; next }
    $1 == "installed" { package = $2 "\t" $3 "\t" $4; print package "\t" sum[package] }
'
